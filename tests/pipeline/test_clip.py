"""Columns clipped on a chip: what is measured, what is written anew, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cimsim.errors import CimsimError
from cimsim.mac.clip import least_error_bounds
from cimsim.model import (
    TRIM_VECTORS,
    Correction,
    FloatLinear,
    Replica,
    SlotRewrite,
    load_correction,
    save_correction,
)
from cimsim.stages.calibration_cost import calibration_cost
from cimsim.stages.compute import NUMBA
from cimsim.stages.models import read_text
from cimsim.stages.placed_chip import place_chip
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.ranges import measure_ranges
from cimsim.stages.recoding import Recoding
from cimsim.stages.slot_rewrites import writes_at_start
from cimsim.stages.subject import open_subject
from cimsim.workload.matrix import MatrixId, TokenKeys
from romer.registry import step_of
from romer.steps.clip import half_octave, measured_error_lsb
from tests.pipeline.conftest import Runner, tiny_chip

NOISY = ("tile.device.sigma_lsb=5", "chip.spare_fraction=1.0")
MATRIX = MatrixId(0, "up", 5)


def _bench(model: Path, *overrides: str, chip: str = "eflash_40nm") -> Any:
    config = tiny_chip(chip, *overrides)
    subject = open_subject(str(model), read_text(None), config)
    placed = place_chip(config, subject.program, subject.expected)
    ranges = measure_ranges(config, subject.decoder, placed.copies, subject.profile)
    digital = FloatLinear(subject.checkpoint, NUMBA.backend)
    deployed = ProgrammedChip.program(
        config.tile, 25.0, subject.checkpoint, placed.copies, ranges, digital, 0
    )
    recoding = Recoding(config, subject.decoder, placed.copies, subject.profile, NUMBA)
    return subject, placed, replace(deployed, recoding=recoding)


@pytest.fixture(scope="module")
def bench(tiny_model: Path) -> Any:
    return _bench(tiny_model, *NOISY)


class _Task:
    def __init__(self, subject: Any, deployed: ProgrammedChip) -> None:
        self.deployment, self.decoder = deployed, subject.decoder
        self.read_seeds, self.mode = (1, 2), "folded"


def _clipped(subject: Any, deployed: ProgrammedChip) -> Correction:
    start = Correction("clip_columns", subject.checkpoint.hash, "chip")
    return step_of("clip_columns")(_Task(subject, deployed), start, None)  # type: ignore[arg-type]


def _product(deployed: ProgrammedChip, correction: Correction | None, matrix: MatrixId) -> Any:
    n_in = deployed.checkpoint.shape_of(matrix)[0]
    x = np.random.default_rng(0).standard_normal((64, n_in)).astype(np.float32)
    keys = TokenKeys(np.zeros(64, dtype=np.int64), np.arange(64))
    linear = deployed.linear(correction, read_seed=3, mode="folded")
    return linear(matrix, x, keys), x


def _error(deployed: ProgrammedChip, correction: Correction | None, target: Any) -> float:
    y, x = _product(deployed, correction, MATRIX)
    return float(np.sqrt(np.mean((y - x @ target) ** 2)))


@pytest.mark.parametrize("sigma", [2.0, 8.0])
def test_error_of_cells_is_read_off_the_chip_in_lsb(tiny_model: Path, sigma: float) -> None:
    subject, _, deployed = _bench(tiny_model, f"tile.device.sigma_lsb={sigma}")
    task: Any = _Task(subject, deployed)
    # Converters and the few rows of a tiny matrix, whose gain is fitted, move it by some.
    assert measured_error_lsb(task) == pytest.approx(sigma, rel=0.25)


def test_error_is_taken_to_half_an_octave() -> None:
    assert half_octave(5.0) == pytest.approx(2**2.5)
    assert half_octave(4.7) == 4.0
    assert half_octave(0.0) == 0.125


def test_clipped_columns_err_by_less_and_are_other_cells(bench: Any) -> None:
    subject, _, deployed = bench
    found, plain = _clipped(subject, deployed), subject.checkpoint.matrix(MATRIX)
    bounds = least_error_bounds(plain, found.clip_lsb, 8)
    anew = deployed.written_anew(found.clip_lsb)
    np.testing.assert_array_equal(anew.checkpoint.matrix(MATRIX), np.clip(plain, -bounds, bounds))
    assert anew.tile.weight.scale == "per_column"
    assert _error(deployed, found, plain) < 0.75 * _error(deployed, None, plain)
    # What is digital stays what it was.
    gain = subject.checkpoint.parameter(0, "attention_norm")
    np.testing.assert_array_equal(anew.checkpoint.parameter(0, "attention_norm"), gain)


def test_a_slot_of_a_clipped_chip_is_written_once_more(bench: Any) -> None:
    subject, _, deployed = bench
    found = _clipped(subject, deployed)
    moved = replace(found, rewrites=(SlotRewrite(0, 5, 3),))
    source = subject.checkpoint.matrix(MatrixId(0, "up", 3))
    y, x = _product(deployed, moved, MATRIX)
    first, _ = _product(deployed, found, MatrixId(0, "up", 3))
    assert np.sqrt(np.mean((y - x @ source) ** 2)) < 2 * np.sqrt(np.mean((first - x @ source) ** 2))
    assert not np.array_equal(y, first)


def test_steps_after_it_trim_and_copy_the_clipped_chip(bench: Any) -> None:
    subject, _, deployed = bench
    found, task = _clipped(subject, deployed), _Task(subject, deployed)
    trimmed = step_of("trim_columns")(task, found, None)  # type: ignore[arg-type]
    assert trimmed.clip_lsb == found.clip_lsb
    copied = replace(found, replicas=(Replica(0, -1, 2, "router"),))
    y, x = _product(deployed, copied, MatrixId(0, "router"))
    one, _ = _product(deployed, found, MatrixId(0, "router"))
    target = x @ subject.checkpoint.matrix(MatrixId(0, "router"))
    assert np.mean((y - target) ** 2) < np.mean((one - target) ** 2)


def test_it_is_saved_and_charged_for_all_cells_and_the_vectors_that_measure_it(
    bench: Any, tmp_path: Path
) -> None:
    subject, chip, deployed = bench
    found = _clipped(subject, deployed)
    save_correction(found, tmp_path / "clip.safetensors")
    again = load_correction(tmp_path / "clip.safetensors")
    assert (again.clip_lsb, again.digest()) == (found.clip_lsb, found.digest())
    assert found.digest() != replace(found, clip_lsb=0.0).digest()
    cost, units, copies = calibration_cost(chip, found), chip.placement.units, chip.copies.resident
    assert cost.cells == sum(copies[key] * unit.cells for key, unit in units.items())
    assert sum(r.count for r in cost.ledger if r.component == "adc") == TRIM_VECTORS * sum(
        copies[key] * t.conversions_per_vector for key, unit in units.items() for t in unit.tilings
    )
    slot = replace(found, rewrites=(SlotRewrite(0, 5, 3),))
    one = units[next(k for k in units if (k.layer, k.part, k.expert) == (0, "experts", 5))]
    assert calibration_cost(chip, slot).cells == cost.cells + one.cells * copies[one.key]


def test_a_chip_whose_weights_are_signs_has_no_other_codes(tiny_model: Path, bench: Any) -> None:
    subject, _, deployed = _bench(tiny_model, "tile.weight.bits=1", "tile.device.cell_bits=1")
    assert not deployed.recodes
    assert _clipped(subject, deployed).is_identity
    with pytest.raises(CimsimError, match="have no other codes"):
        deployed.linear(Correction("x", "", "", clip_lsb=2.0), read_seed=0, mode="folded")


def test_a_run_takes_the_recommended_method_by_name(run_tiny: Runner) -> None:
    wanted = ("calibration.method=recommended", "run.chip_seeds=1", "calibration.tokens=512")
    found = run_tiny("eflash_40nm", "tile.device.sigma_lsb=8", *wanted)
    assert found.row["calibrator"] == "recommended"
    assert found.row["calibration_cells_written"] > 0
    gap = found.row["ppl_noisy_mean"] - found.row["ppl_float"]
    assert found.row["ppl_calibrated_mean"] - found.row["ppl_float"] < 0.4 * gap


def test_experts_in_slots_count_the_write_of_the_whole_model(tiny_model: Path) -> None:
    small = ("chip.tiles=6", "tile.pes=1", "chip.switching=lru", "tile.device.sigma=0.1")
    _, placed, deployed = _bench(tiny_model, *small, chip="isaac")
    once = writes_at_start(deployed.holds, None)
    assert set(once.values()) == {0, 1}
    twice = writes_at_start(deployed.holds, Correction("x", "", "", clip_lsb=2.0))
    assert twice == {key: 2 * count for key, count in once.items()}
    clipped = calibration_cost(placed, Correction("x", "", "", clip_lsb=2.0))
    held = [u for k, u in placed.placement.units.items() if twice.get(k, 2)]
    assert clipped.cells >= sum(u.cells for u in held) > 0
    assert clipped.cells < sum(u.cells for u in placed.placement.units.values())
