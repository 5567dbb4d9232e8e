"""Whole runs on a CUDA device against those of Numba, and exact against fast."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from cimsim.results import ChipResult
from cimsim.stages.measured import ChipMeasurement

Runner = Callable[..., ChipResult]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: make test-gpu"),
]
# Pairs of cells whose charge is one conversion, and sliced cells, with noise at every conversion.
SLICED = ("tile.weight.encoding=offset", "tile.crossbar.cols=128", "tile.adc.noise_lsb=0.3")
CHIPS = [("eflash_40nm", ("tile.adc.noise_lsb=0.3",)), ("isaac", SLICED)]


@pytest.mark.parametrize(("chip", "knobs"), CHIPS, ids=lambda v: v if isinstance(v, str) else "")
def test_an_exact_run_on_a_device_is_that_of_numba(
    chip: str, knobs: tuple[str, ...], run_tiny: Runner, seen: list[ChipMeasurement]
) -> None:
    knobs = (*knobs, "run.chip_seeds=1")
    ours = run_tiny(chip, *knobs)
    theirs = run_tiny(chip, "run.device=cuda", "run.precision=exact", *knobs)
    for name in ("ppl_float", "ppl_ideal_int", "ppl_noisy_mean", "ppl_calibrated_mean"):
        assert abs(np.log(ours.row[name] / theirs.row[name])) < 1e-3, name
    first, second = (m.accuracy.seeds[0] for m in seen)
    assert (first.noisy.experts == second.noisy.experts).mean() > 0.999
    counts = [s.statistics.total for s in (first, second)]
    assert counts[0].conversions == counts[1].conversions > 0
    assert counts[0].clipped == pytest.approx(counts[1].clipped, rel=1e-2, abs=2)
    for name in ("input_bit_density", "mean_level_fraction"):
        assert getattr(counts[0], name) == pytest.approx(getattr(counts[1], name), rel=3e-3)


@pytest.mark.parametrize(("chip", "knobs"), CHIPS, ids=lambda v: v if isinstance(v, str) else "")
def test_fast_differs_from_exact_by_less_than_two_standard_errors(
    chip: str, knobs: tuple[str, ...], run_tiny: Runner, seen: list[ChipMeasurement]
) -> None:
    knobs = (*knobs, "run.device=cuda", "calibration.method=identity", "run.chip_seeds=1")
    run_tiny(chip, "run.precision=exact", *knobs)
    run_tiny(chip, *knobs)
    exact, fast = (m.accuracy.seeds[0].noisy.nll.ravel() for m in seen)
    difference = fast - exact
    error = difference.std(ddof=1) / np.sqrt(difference.size)
    assert 0.0 < abs(difference.mean()) < max(2e-3, 2.0 * error)


def test_a_folded_run_on_a_device_is_that_of_numba(run_tiny: Runner) -> None:
    knobs = ("run.tile_mode=folded", "run.chip_seeds=1", "calibration.method=identity")
    ours = run_tiny("eflash_40nm", *knobs)
    theirs = run_tiny("eflash_40nm", "run.device=cuda", "run.precision=exact", *knobs)
    assert abs(np.log(ours.row["ppl_noisy_mean"] / theirs.row["ppl_noisy_mean"])) < 1e-3


def test_experts_read_together_differ_from_exact_by_less_than_two_standard_errors(
    run_tiny: Runner, seen: list[ChipMeasurement]
) -> None:
    knobs = (
        "tile.weight.encoding=offset", "tile.crossbar.cols=128", "run.tile_mode=folded",
        "run.device=cuda", "calibration.method=identity", "run.chip_seeds=1",
    )  # fmt: skip
    run_tiny("isaac", "run.precision=exact", *knobs)
    run_tiny("isaac", *knobs)
    run_tiny("isaac", "run.device_gb=0.001", *knobs)
    exact, fast, streamed = (m.accuracy.seeds[0].noisy.nll.ravel() for m in seen)
    difference = fast - exact
    error = difference.std(ddof=1) / np.sqrt(difference.size)
    assert 0.0 < abs(difference.mean()) < max(2e-3, 2.0 * error)
    assert np.array_equal(streamed, fast)
