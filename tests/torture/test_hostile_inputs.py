"""Inputs that nobody should write: each ends in a result or in one sentence, soon."""

from __future__ import annotations

import csv
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_model import SMALL

from cimsim.model import build_program
from cimsim.model.correction import identity
from cimsim.model.correction_file import save_correction
from cimsim.stages.models import open_model
from cimsim.workload.shapes import SHAPES
from tests.small_shape import NAME, SMALL_SHAPE
from tests.torture.configs import broken_chip, extreme_chip, write
from tests.torture.hostile import (
    damaged,
    hostile_checkpoint,
    hostile_loads,
    hostile_trace,
)
from tests.torture.outcome import Tally, carry_out, impossible

Tallies = dict[str, Tally]
Scaled = Callable[[int], int]
SETS = [word for knob in SMALL for word in ("--set", knob)]


def part(scaled: Scaled, full: int) -> int:
    """A sixtieth of a large count in `make test`, which has seconds for all of them."""
    return full if scaled(full) == full else max(3, full // 60)


def test_broken_chip_files_are_refused_or_fine(
    tallies: Tallies, scaled: Scaled, tmp_path: Path, tiny_model: Path
) -> None:
    tally = tallies["chip files through validate"]
    for seed in range(part(scaled, 12_000)):
        path = write(tmp_path, broken_chip(seed))
        words = ("validate", path.name, "--model", tiny_model)
        carry_out(tally, f"broken {seed}", *words, folder=tmp_path)
    assert tally.codes[0] and tally.codes[2]
    assert tally.faults == []


@pytest.mark.full
def test_chips_at_the_edge_of_their_bounds_run_to_figures_that_a_chip_can_have(
    tallies: Tallies, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SHAPES, NAME, SMALL_SHAPE)
    tally, checked, seed = tallies["accepted chips that were run"], Tally(), 0
    model = ("--model", tiny_model)
    small = (*SETS, "--set", "calibration.method=identity", "--set", "run.chip_seeds=1")
    while sum(tally.codes.values()) < 400:
        seed += 1
        name, path = f"extreme {seed}", write(tmp_path, extreme_chip(seed))
        if carry_out(checked, name, "validate", path.name, *model, folder=tmp_path):
            continue
        out = f"run{seed}"
        words = ("run", path.name, *model, *small, "--jobs", "1", "--threads", "1", "--out", out)
        if carry_out(tally, name, *words, folder=tmp_path) == 0:
            with (tmp_path / out / "results.csv").open(newline="") as file:
                (row,) = csv.DictReader(file)
            found = impossible({k: _number(v) for k, v in row.items() if "hash" not in k})
            tally.faults += [f"{name}: {what}" for what in found]
    assert tally.faults == []


def _number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def test_hostile_checkpoints_are_refused_or_fine(
    tallies: Tallies, scaled: Scaled, tmp_path: Path, tiny_model: Path
) -> None:
    tally = tallies["hostile checkpoints"]
    for seed in range(part(scaled, 300)):
        folder = hostile_checkpoint(tiny_model, tmp_path / f"m{seed}", seed)
        words = ("run", "isaac", "--model", folder, *SETS, "--dry-run")
        carry_out(tally, f"checkpoint {seed}", *words, folder=tmp_path)
    assert tally.faults == []


def test_hostile_routing_traces_are_refused_or_fine(
    tallies: Tallies, scaled: Scaled, tmp_path: Path, tiny_model: Path
) -> None:
    tally, program = tallies["hostile routing traces"], build_program(open_model(tiny_model))
    shape = (6, len(program.moe_layers), program.top_k)
    for seed in range(scaled(300)):
        hostile_trace(tmp_path / "t.npz", seed, shape, program.n_experts)
        words = ("serve", "isaac", "--model", tiny_model, "--routing", "t.npz", "--loads", "0.5")
        carry_out(tally, f"trace {seed}", *words, folder=tmp_path)
    assert tally.codes[2]
    assert tally.faults == []


def test_damaged_corrections_are_refused(
    tallies: Tallies, scaled: Scaled, tmp_path: Path, tiny_model: Path
) -> None:
    tally = tallies["damaged corrections"]
    save_correction(identity(open_model(tiny_model).hash, "chip"), tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    for seed in range(scaled(300)):
        (tmp_path / "c").write_bytes(damaged(whole, random.Random(f"correction {seed}")))
        words = ("run", "isaac", "--model", tiny_model, *SETS, "--correction", "c", "--dry-run")
        assert carry_out(tally, f"correction {seed}", *words, folder=tmp_path) == 2
    assert tally.faults == []


def test_hostile_loads_are_refused_or_placed(
    tallies: Tallies, scaled: Scaled, tmp_path: Path
) -> None:
    tally = tallies["hostile loads"]
    for seed in range(scaled(100)):
        (tmp_path / "loads.csv").write_bytes(hostile_loads(seed))
        words = ("place", "--loads", "loads.csv", "--replicas", "8", "--gpus", "4")
        carry_out(tally, f"loads {seed}", *words, folder=tmp_path, program="moe_mapping")
    assert tally.codes[2]
    assert tally.faults == []


def test_damaged_texts_are_refused_or_scored(
    tallies: Tallies, scaled: Scaled, tmp_path: Path, tiny_model: Path
) -> None:
    tally = tallies["damaged texts"]
    whole = json.dumps({"a": "words of a text, \u00e9 \u4e2d " * 40}, ensure_ascii=False).encode()
    for seed in range(scaled(100)):
        (tmp_path / "t.txt").write_bytes(damaged(whole, random.Random(f"text {seed}")))
        words = ("run", "isaac", "--model", tiny_model, *SETS, "--text", "t.txt", "--dry-run")
        carry_out(tally, f"text {seed}", *words, folder=tmp_path)
    assert tally.codes[2]
    assert tally.faults == []


PLACES = (
    "", ".", "..", "a\nb", "file/x", "file", "mine", "loop", "nowhere/deep/x", "x" * 300, "pipe",
    "\x1b[2J", "caf\udce9",
)  # fmt: skip
OUTPUTS = (
    ("run", "isaac", "--dry-run", "--out"),
    ("sweep", "isaac", "--axis", "tile.adc.bits=6,7", "--dry-run", "--out"),
    ("new", "reram"),
    ("report",),
    ("tile", "isaac", "--rows", "4", "--cols", "2", "--tokens", "1", "--figure"),
)


def test_bad_outputs_are_refused_and_harm_nothing(
    tallies: Tallies, scaled: Scaled, tmp_path: Path
) -> None:
    tally = tallies["bad outputs"]
    (tmp_path / "file").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    pairs = [(place, words) for place in PLACES for words in OUTPUTS]
    for place, words in pairs[:: len(pairs) // scaled(len(pairs))]:
        carry_out(tally, f"{words[0]} {place!r}", *words, place, folder=tmp_path)
    assert tally.faults == []
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "loop").is_symlink()
