"""What the golden net knows of the product: plain values in, plain values out.

Only this module and `product_engine.py` import it. Whoever moves or renames something in the
product mends these functions and nothing else of the net. Command lines run in this process,
because starting one costs more than a chip.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from cimsim.cli import main as cimsim_main
from cimsim.cli.moe_mapping import main as mapping_main
from cimsim.cli.romer import main as romer_main
from cimsim.config import ChipConfig
from cimsim.config.load import find_chip, load_chip
from cimsim.engine import simulate
from cimsim.errors import CimsimError
from cimsim.model import Checkpoint, Decoder, FloatLinear, build_program
from cimsim.stages.models import calibration_windows, open_model, read_text, scored_windows
from cimsim.stages.placed_chip import PlacedChip, place_chip
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.ranges import measure_ranges
from cimsim.stages.scoring import score_clean
from cimsim.workload.shapes import SHAPES, DecoderShape
from cimsim.workload.trace import RoutingTrace
from moe_mapping import Assignment, MappingProblem, evaluate, solve
from moe_mapping import policies as mapping_policies
from romer.registry import METHODS, find_steps
from tests.golden.rows import Row
from tests.tiny_model import write_checkpoint

__all__ = [
    "chip_tables",
    "command",
    "conversions",
    "corrected",
    "full_size",
    "methods",
    "placement_of",
    "policies",
    "published_chips",
    "routing_of",
    "runnable_chips",
    "small_shape",
    "solved",
    "steps",
    "tiny_model",
]

MAIN = {"cimsim": cimsim_main, "moe-mapping": mapping_main, "romer": romer_main}
SMALL_SHAPE = DecoderShape("golden", "olmoe", 2, 256, 4, 4, 64, 1024, 16, 2, 128)
"""What scale.csv is timed at: the full size takes up to a minute a chip."""
LATER = frozenset(
    {
        "recommended",
        "clip_columns",
        "load_match",
        "fragment_apart",
        "fragment_together",
        "fragment_fence",
        "fragment_rank",
    }
)
"""Methods and steps that came after the values were stored: tests/pipeline and
tests/romer say what they do."""
Names = dict[str, str]


def runnable_chips() -> list[str]:
    """Return the names of the bundled chips that can be run."""
    return sorted(p.stem for p in (Path(__file__).parents[2] / "arch_configs").glob("*.yaml"))


def published_chips() -> list[str]:
    """Return the names of the chips that have peak figures only."""
    folder = Path(__file__).parents[2] / "arch_configs" / "published"
    return sorted(p.stem for p in folder.glob("*_peak.yaml"))


def methods() -> list[str]:
    """Return every calibration method."""
    return [name for name in METHODS if name not in LATER]


def steps() -> list[str]:
    """Return every calibration step."""
    return [name for name in find_steps() if name not in LATER]


def policies() -> list[str]:
    """Return every placement policy."""
    return list(mapping_policies())


@contextlib.contextmanager
def tiny_model() -> Iterator[str]:
    """Hold the folder of a tiny random checkpoint, named tiny."""
    with tempfile.TemporaryDirectory() as folder:
        yield str(write_checkpoint(Path(folder) / "tiny"))


@contextlib.contextmanager
def small_shape() -> Iterator[None]:
    """Time scale.csv at a small shape."""
    with mock.patch.dict(SHAPES, {"olmoe-1b-7b": SMALL_SHAPE}):
        yield


@contextlib.contextmanager
def full_size() -> Iterator[None]:
    """Time scale.csv as a user does."""
    yield


def command(program: str, *arguments: str) -> str:
    """Run a command line in this process and return what it printed.

    Raises:
        AssertionError: if it did not end well.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", [program, *arguments]),
        mock.patch.dict(os.environ),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            MAIN[program]()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
    assert code == 0, f"{program} {' '.join(arguments)}: {err.getvalue()}"
    return out.getvalue()


def chip_tables(
    chips: list[str], model: str, overrides: list[str], *more: str
) -> dict[str, list[Names]]:
    """Run chips as `cimsim run` does, without its report, and read the tables that it wrote.

    Args:
        chips: names or files.
        model: bundled name or folder.
        overrides: KEY=VALUE each.
        more: options.

    Returns:
        Rows of every table, cells as text.
    """
    with tempfile.TemporaryDirectory() as folder, mock.patch("cimsim.session.write_report"):
        command(
            "cimsim", "run", *chips, "--model", model, *_sets(overrides), *more,
            "--jobs", "1", "--threads", "1", "--out", folder,
        )  # fmt: skip
        found = {}
        for path in sorted(Path(folder).glob("*.csv")):
            with path.open(encoding="utf-8", newline="") as lines:
                found[path.stem] = list(csv.DictReader(lines))
    return found


def corrected(
    chip: str, model: str, method: str, overrides: list[str]
) -> tuple[list[Row], dict[str, list[Names]]]:
    """Calibrate a chip, keep what each step does whether it helps or not, and run it so.

    Returns:
        What each step gained on calibration text, and the tables of the run.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/correction.safetensors"
        said = command(
            "romer", "calibrate", chip, "--model", model, *_sets(overrides), "--method", method,
            "--unguarded", "--json", "--out", path,
        )  # fmt: skip
        verdicts: list[Row] = json.loads(said)["steps"]
        return verdicts, chip_tables([chip], model, overrides, "--correction", path)


def _sets(overrides: list[str]) -> list[str]:
    return [part for item in overrides for part in ("--set", item)]


@dataclass(frozen=True)
class Opened:
    """A model placed on a chip."""

    config: ChipConfig
    checkpoint: Checkpoint
    placed: PlacedChip
    decoder: Decoder
    trace: RoutingTrace
    windows: np.ndarray[Any, np.dtype[np.int64]]
    profile: np.ndarray[Any, np.dtype[np.int64]]


def _open(chip: str, model: str, overrides: list[str]) -> Opened:
    config = load_chip(find_chip(chip), tuple(overrides))
    checkpoint, texts = open_model(model), read_text(None)
    program, decoder = build_program(checkpoint), Decoder(checkpoint)
    windows = scored_windows(checkpoint, texts, config.workload)
    profile = calibration_windows(checkpoint, texts, 256, config.workload.context)
    trace = score_clean(decoder, FloatLinear(checkpoint), windows).trace
    placed = place_chip(config, program, trace)
    return Opened(config, checkpoint, placed, decoder, trace, windows, profile)


def placement_of(chip: str, model: str, overrides: list[str]) -> list[tuple[str, int, list[int]]]:
    """Return (unit, copy, crossbars) of every copy, and of every slot as unit "slot"."""
    found = _open(chip, model, overrides).placed.placement
    seats = [(str(s.unit), s.replica, list(s.crossbars)) for s in found.seats]
    return sorted(seats) + [("slot", i, list(s)) for i, s in enumerate(found.slots)]


def conversions(chip: str, model: str, overrides: list[str]) -> dict[tuple[str, str], list[int]]:
    """Return vectors and ADC conversions of every (phase, unit) with the clean routing."""
    chip_ = _open(chip, model, overrides)
    found = {}
    for phase, batch in (("prefill", chip_.config.workload.in_flight), ("decode", 4)):
        result = simulate(chip_.placed, chip_.trace, phase=phase, batch=batch)
        for unit, vectors in result.counts.unit_vectors.items():
            converted = vectors * chip_.placed.cost.conversions(unit)
            found[phase, str(unit)] = [int(vectors), int(converted)]
    return found


def routing_of(chip: str, model: str, overrides: list[str]) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Return the experts of every token on the tiles of a chip, [tokens, MoE layers, k]."""
    chip_ = _open(chip, model, overrides)
    ranges = measure_ranges(chip_.config, chip_.decoder, chip_.placed.copies, chip_.profile)
    digital = FloatLinear(chip_.checkpoint)
    deployed = ProgrammedChip.program(
        chip_.config.tile, chip_.config.technology.temperature_c, chip_.checkpoint,
        chip_.placed.copies, ranges, digital, 0,
    )  # fmt: skip
    linear = deployed.linear(None, read_seed=chip_.config.run.seed, mode="detailed")
    sequences = np.arange(len(chip_.windows), dtype=np.int64)
    scored = chip_.decoder.score(chip_.windows, linear, sequences=sequences, correction=None)
    return scored.trace.experts


def solved(case: dict[str, Any], policy: str) -> tuple[Any, Row] | None:
    """Place the units of a stored problem.

    Returns:
        The copies of every unit as nested lists of (tile, crossbars), and the parts of the
        objective; None if the policy does not take the problem.
    """
    problem = MappingProblem(
        units=tuple(case["units"]),
        layer=np.array(case["layer"], dtype=np.int64),
        crossbars=np.array(case["crossbars"], dtype=np.int64),
        time_ps=np.array(case["time_ps"], dtype=np.float64),
        replicable=np.array(case["replicable"], dtype=np.bool_),
        traffic_bytes=np.array(case["traffic_bytes"], dtype=np.float64),
        capacity=np.array(case["capacity"], dtype=np.int64),
        hops=np.array(case["hops"], dtype=np.int64),
        replica_budget=case["replica_budget"],
        current=None if case["current"] is None else Assignment(case["current"]),
        group=None if case["group"] is None else np.array(case["group"], dtype=np.int64),
        node=None if case["node"] is None else np.array(case["node"], dtype=np.int64),
    )
    try:
        found = solve(problem, policy, seed=case["seed"])
    except CimsimError:
        return None
    value = evaluate(problem, found)
    parts = ("value", "slowest_tile_ps", "serial_ps", "hop_bytes", "replica_crossbars",
             "rewritten_crossbars")  # fmt: skip
    return found.copies, {name: getattr(value, name) for name in parts}
