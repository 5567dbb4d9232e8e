"""Chips as tasks: the same bytes whatever executes them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tiny_model import SMALL

from cimsim.config.load import find_chip, load_chip
from cimsim.results.csv_file import csv_bytes
from cimsim.results.packed import pack
from cimsim.stages.columns.registry import run_tables
from cimsim.stages.models import read_text
from cimsim.sweeps.chip_job import ChipJob
from cimsim.sweeps.executor import Workplace
from cimsim.sweeps.open_executor import open_executor
from cimsim.workload.shapes import SHAPES
from tests.small_shape import NAME, SMALL_SHAPE

PLUGIN = "from tests.small_shape import NAME, SHAPES, SMALL_SHAPE\nSHAPES[NAME] = SMALL_SHAPE\n"


def jobs_of(model: Path) -> list[ChipJob]:
    texts = read_text(None)
    configs = [load_chip(find_chip(chip), SMALL) for chip in ("isaac", "sram_digital_28nm")]
    return [ChipJob(config.name, config, str(model), texts) for config in configs]


def _note(told: list[str], _: str, stage: str, __: float) -> None:
    told.append(stage)


def test_results_are_the_same_bytes_whatever_executes_them(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SHAPES, NAME, SMALL_SHAPE)
    (tmp_path / "small.py").write_text(PLUGIN)
    schema = run_tables((1, 8))
    found = []
    for jobs, cluster in ((1, None), (2, None), (1, "local:2")):
        told: list[str] = []
        with open_executor(jobs, cluster=cluster, plugins=[tmp_path / "small.py"]) as executor:
            submitted = executor.submit(jobs_of(tiny_model), partial(_note, told))
            chips = {f.name: f.value() for f in submitted}
        assert "events" in told
        tables = {
            name: {t.name: csv_bytes(t, rows[t.name]) for t in schema if t.name in rows}
            for name, rows in ((n, chip.tables(schema[0])) for n, chip in chips.items())
        }
        found.append((tables, {n: (c.config_yaml, c.warnings) for n, c in chips.items()}))
    assert len(found[0][0]) == 2
    assert len(found[0][0]["isaac"]) == len(schema) - 1  # all but pairs.csv
    assert found[0] == found[1] == found[2]


def test_results_are_the_same_bytes_with_a_cache_and_without(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SHAPES, NAME, SMALL_SHAPE)
    (job, _) = jobs_of(tiny_model)
    place = Workplace(lambda *_: None, {})
    found = []
    for cache in (None, tmp_path, tmp_path):
        before = {p for p in tmp_path.rglob("*") if p.is_file()}
        found.append(pack(replace(replace(job, cache=cache).run(place), seconds=0.0)))
        new = {p for p in tmp_path.rglob("*") if p.is_file()} - before
        assert bool(new) == (len(found) == 2)
    assert found[0] == found[1] == found[2]
