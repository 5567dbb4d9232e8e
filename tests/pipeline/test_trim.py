"""Column trimming on a chip: what a bring-up finds, what it mends, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cimsim.backends.torch.compute import TorchCompute
from cimsim.chip import UnitKey
from cimsim.model import (
    TRIM_VECTORS,
    Correction,
    FloatLinear,
    Replica,
    SlotRewrite,
    digital_ops_per_token,
    load_correction,
    save_correction,
)
from cimsim.stages.calibration_cost import calibration_cost
from cimsim.stages.compute import NUMBA, Compute
from cimsim.stages.models import read_text
from cimsim.stages.placed_chip import place_chip
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.ranges import measure_ranges
from cimsim.stages.subject import open_subject
from cimsim.workload.matrix import MatrixId, TokenKeys
from romer.registry import step_of
from romer.steps.trim import fit_trim, trimmed_again, vectors_of
from tests.pipeline.conftest import tiny_chip

COLUMNS = (
    "tile.input.signed=shift", "tile.dac.bits=8", "tile.adc.bits=10", "tile.adc.per_pe=1024",
    "tile.adc.offset_lsb=10", "tile.adc.gain_sigma=0.2", "tile.adc.reference_gain=0.5",
    "tile.device.sigma_lsb=0.5", "chip.spare_fraction=1.0", "tile.adc.range={kind: full}",
)  # fmt: skip


@pytest.fixture(scope="module")
def bench(tiny_model: Path) -> Any:
    return _bench(tiny_model, NUMBA)


def _bench(model: Path, compute: Compute) -> Any:
    config = tiny_chip("eflash_40nm", *COLUMNS)
    subject = open_subject(str(model), read_text(None), config)
    chip = place_chip(config, subject.program, subject.expected)
    ranges = measure_ranges(config, subject.decoder, chip.copies, subject.profile)
    digital = FloatLinear(subject.checkpoint, compute.backend)
    deployed = ProgrammedChip.program(
        config.tile, 25.0, subject.checkpoint, chip.copies, ranges, digital, 0, compute
    )
    return subject, chip, deployed


class _Task:
    def __init__(self, subject: Any, deployed: ProgrammedChip) -> None:
        self.deployment, self.decoder = deployed, subject.decoder
        self.read_seeds, self.mode = (1, 2), "folded"


def _trimmed(subject: Any, deployed: ProgrammedChip, **given: Any) -> Correction:
    start = Correction("trim_columns", subject.checkpoint.hash, "chip", **given)
    return step_of("trim_columns")(_Task(subject, deployed), start, None)  # type: ignore[arg-type]


def _error(
    subject: Any, deployed: ProgrammedChip, correction: Correction, matrix: MatrixId
) -> float:
    """Return the relative error of a product of inputs of many sizes."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 32)).astype(np.float32) * np.logspace(-2, 1, 64)[:, None]
    x = np.asarray(x, dtype=np.float32)
    keys = TokenKeys(np.zeros(64, dtype=np.int64), np.arange(64))
    backend = deployed.digital.backend
    linear = deployed.linear(correction, read_seed=3, mode="detailed")
    y = backend.host(linear(matrix, backend.array(x), keys))
    clean = x @ subject.checkpoint.matrix(matrix)
    size = np.abs(x).max(axis=1, keepdims=True)  # every token counts alike
    return float(np.sqrt(np.mean(((y - clean) / size) ** 2) / np.mean((clean / size) ** 2)))


def test_gain_and_offset_are_those_of_a_line_through_dark_reads_and_test_vectors() -> None:
    target = np.array([[0.0], [1.0], [3.0], [-4.0]], dtype=np.float32)
    y = np.concatenate([target * 2.0 + 5.0, np.full((4, 1), 7.0)], axis=1).astype(np.float32)
    gain, offset = fit_trim(y, np.concatenate([target, target], axis=1))
    np.testing.assert_allclose(gain, [0.5, 1.0])
    # A silent column has no gain: what it says whatever its inputs is taken away.
    np.testing.assert_allclose(offset, [-2.5, -7.0], atol=1e-6)


def test_test_vectors_have_one_greatest_magnitude_and_dark_ones_drive_one_row() -> None:
    x = vectors_of(40)
    assert x.shape == (TRIM_VECTORS, 40)
    np.testing.assert_array_equal(np.abs(x).max(axis=1), 1.0)
    assert (np.count_nonzero(x, axis=1) == 1).sum() == TRIM_VECTORS // 5
    assert len(np.unique(np.argmax(np.abs(x[::5]), axis=1))) > 25


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_trimming_mends_columns_for_inputs_of_every_size(
    bench: Any, tiny_model: Path, backend: str
) -> None:
    torch = _bench(tiny_model, TorchCompute("cpu", "exact", 0)) if backend == "torch" else None
    subject, _, deployed = torch or bench
    none = Correction("none", subject.checkpoint.hash, "chip")
    found = _trimmed(subject, deployed)
    for matrix in (MatrixId(0, "router"), MatrixId(1, "q"), MatrixId(0, "gate", 3)):
        assert _error(subject, deployed, none, matrix) > 0.5
        assert _error(subject, deployed, found, matrix) < 0.12


def test_what_is_written_after_a_trim_is_trimmed_as_it_is_written(bench: Any) -> None:
    subject, _, deployed = bench
    first = _trimmed(subject, deployed)
    task: Any = _Task(subject, deployed)
    average = SlotRewrite(0, 3, 5, copy_router=True, sharing="average")
    moved = trimmed_again(
        task, replace(first, rewrites=(average,)), {MatrixId(0, "up", 3), MatrixId(0, "gate", 3)}
    )
    # The mean of both slots, each behind its own registers.
    assert _error(subject, deployed, moved, MatrixId(0, "up", 5)) < 0.12
    kept = MatrixId(0, "up", 4)
    np.testing.assert_array_equal(moved.trims[kept].gain, first.trims[kept].gain)
    router = MatrixId(1, "router")
    copies = len(first.trims[router].gain) + 1
    copied = replace(first, replicas=(Replica(1, -1, copies, "router"),))
    bare = _error(subject, deployed, copied, router)
    again = trimmed_again(task, copied, {router})
    assert again.trims[router].gain.shape == (copies, 8)
    assert _error(subject, deployed, again, router) < 0.12 < bare


def test_a_trim_is_saved_and_costs_its_vectors_and_two_operations_per_output(
    bench: Any, tmp_path: Path
) -> None:
    subject, chip, deployed = bench
    found = _trimmed(subject, deployed)
    save_correction(found, tmp_path / "trim.safetensors")
    assert load_correction(tmp_path / "trim.safetensors").digest() == found.digest()
    matrices = subject.program.matrices()
    trimmed = [m for m in matrices if m.id in found.trims]
    assert {m.id.part for m in trimmed} == {"attention", "router", "experts"}
    outputs = sum(m.n_out * (0.25 if m.id.part == "experts" else 1.0) for m in trimmed)
    assert digital_ops_per_token(found, subject.program).elements == 2 * outputs
    cost = calibration_cost(chip, found)
    assert cost.cells == 0
    copies = {UnitKey.of(m): len(trim.gain) for m, trim in found.trims.items()}
    times = {key: TRIM_VECTORS * n for key, n in copies.items()}
    units = chip.placement.units
    each_ps = {key: chip.cost.visit_timing(units[key]).interval_ps for key in times}
    assert cost.time_us == pytest.approx(sum(n * each_ps[k] for k, n in times.items()) / 1e6)
    conversions = sum(row.count for row in cost.ledger if row.component == "adc")
    assert conversions == sum(
        n * t.conversions_per_vector for key, n in times.items() for t in units[key].tilings
    )
    assert cost.energy_nj > 0.0
    assert calibration_cost(chip, Correction("none", "", "")).energy_nj == 0.0
