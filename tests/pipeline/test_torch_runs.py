"""Runs computed in torch against those of Numba: bits of chips, and numbers of whole runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from cimsim.backends.torch.compute import TorchCompute
from cimsim.config import ChipConfig
from cimsim.errors import CimsimError
from cimsim.mac import MacStatistics, Mode
from cimsim.model.correction import Replica, SlotRewrite, identity
from cimsim.results import ChipResult
from cimsim.stages.accuracy import GivenCorrection, measure_accuracy
from cimsim.stages.compute import NUMBA, open_compute
from cimsim.stages.measured import ChipMeasurement
from cimsim.stages.models import read_text
from cimsim.stages.placed_chip import place_chip
from cimsim.stages.programmed_chip import ProgrammedChip
from cimsim.stages.ranges import find_ranges, measure_ranges
from cimsim.stages.subject import ModelOnText, open_subject
from cimsim.workload.matrix import TokenKeys
from tests.pipeline.conftest import tiny_chip

TORCH = "run.backend=torch"
# Encodings with complements, centred, in pairs, exact digital, converters with frozen errors,
# drift with 1/f noise and digital gains.
CHIPS = ("isaac", "raella", "eflash_40nm", "sram_digital_28nm", "hermes", "sram_analog_22nm")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _deployed(config: ChipConfig, subject: ModelOnText) -> tuple[ProgrammedChip, ProgrammedChip]:
    """The same chip on both backends, with ranges in common."""
    chip = place_chip(config, subject.program, subject.expected)
    ranges = measure_ranges(config, subject.decoder, chip.copies, subject.profile)
    common = (
        config.tile, config.technology.temperature_c, subject.checkpoint, chip.copies, ranges,
        subject.digital, 1,
    )  # fmt: skip
    compute = TorchCompute("cpu", "exact", 0)
    tensors = open_subject(str(subject.checkpoint.folder), subject.texts, config).digital
    tensors = type(tensors)(subject.checkpoint, compute.backend)
    return (
        ProgrammedChip.program(*common, NUMBA),
        ProgrammedChip.program(*common[:5], tensors, 1, compute),
    )


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("compiled", [True, False])
def test_products_of_a_chip_have_the_bits_of_numba(
    compiled: bool, chip: str, tiny_model: Path
) -> None:
    """Of those that a processor uses, and of plain torch, which is the twin of the kernels."""
    with patch.object(TorchCompute, "compiled", compiled):
        _compare(tiny_chip(chip, "chip.spare_fraction=1.0"), tiny_model)


def _compare(config: ChipConfig, tiny_model: Path) -> None:
    subject = open_subject(str(tiny_model), read_text(None), config)
    ours, theirs = _deployed(config, subject)
    rng = np.random.default_rng(0)
    keys = TokenKeys(rng.integers(0, 9, 7), rng.integers(0, 99, 7))
    layer = next(iter(subject.program.moe_layers))
    correction = identity(subject.checkpoint.hash, "chip")
    averaged = [m for m, copies in ours.programmed.items() if len(copies) > 1 and m.expert >= 0]
    replicas = tuple(Replica(m.layer, m.expert, 2) for m in averaged[:1])
    changed = type(correction)(
        **{
            **correction.__dict__,
            "rewrites": (SlotRewrite(layer, 2, 5, copy_router=True, sharing="average"),),
            "replicas": replicas,
            "offload_experts": ((layer, 1),),
        }
    )
    modes: tuple[Mode, ...] = ("detailed", "folded")
    for mode in modes:
        for done in (None, changed):
            counted = MacStatistics(), MacStatistics()
            pair = [
                each.linear(done, read_seed=3, mode=mode, statistics=counts)
                for each, counts in zip((ours, theirs), counted, strict=True)
            ]
            for matrix in ours.programmed:
                if done is not None and (matrix.layer, matrix.expert) == (layer, 1):
                    continue  # computed digitally, where torch sums in another order
                n_in = subject.checkpoint.matrix(matrix).shape[0]
                x = rng.standard_normal((7, n_in)).astype(np.float32)
                found = pair[1](matrix, torch.from_numpy(x), keys).numpy()
                assert np.array_equal(found, pair[0](matrix, x, keys)), (matrix, mode)
            assert counted[0].counts == counted[1].counts


Runner = Callable[..., ChipResult]


@pytest.mark.parametrize("scale", ["per_token", "per_channel"])
@pytest.mark.parametrize("chip", ["eflash_40nm", "isaac"])
def test_a_run_differs_by_less_than_a_thousandth_of_a_nat(
    chip: str, scale: str, run_tiny: Runner, seen: list[ChipMeasurement]
) -> None:
    knob = f"tile.input.scale={scale}"
    ours, theirs = run_tiny(chip, knob), run_tiny(chip, knob, TORCH)
    for name in ("ppl_float", "ppl_ideal_int", "ppl_noisy_mean", "ppl_calibrated_mean"):
        assert abs(np.log(ours.row[name] / theirs.row[name])) < 1e-3, name
    first, second = (m.accuracy.seeds[0] for m in seen)
    assert (first.noisy.experts == second.noisy.experts).mean() > 0.999
    # What the ledger is charged with is counted alike.
    counts = [s.statistics.total for s in (first, second)]
    assert counts[0].conversions == counts[1].conversions > 0
    for name in ("input_bit_density", "mean_level_fraction"):
        assert getattr(counts[0], name) == pytest.approx(getattr(counts[1], name), rel=1e-3)


def test_fast_differs_from_exact_by_less_than_two_standard_errors(
    run_tiny: Runner, seen: list[ChipMeasurement]
) -> None:
    plain = ("calibration.method=identity", "tile.adc.noise_lsb=0.3", "run.chip_seeds=1")
    run_tiny("eflash_40nm", TORCH, *plain)
    run_tiny("eflash_40nm", TORCH, "run.precision=fast", *plain)
    exact, fast = (m.accuracy.seeds[0].noisy.nll.ravel() for m in seen)
    difference = fast - exact
    error = difference.std(ddof=1) / np.sqrt(difference.size)
    assert 0.0 < abs(difference.mean()) < max(2e-3, 2.0 * error)


def test_chip_seeds_shared_out_over_devices_are_those_of_one(tiny_model: Path) -> None:
    config = tiny_chip("eflash_40nm", TORCH, "run.chip_seeds=3", "calibration.method=identity")
    subject = open_subject(str(tiny_model), read_text(None), config)
    two = tuple(subject.on(TorchCompute("cpu", "exact", 0)) for _ in range(2))
    chip = place_chip(config, subject.program, subject.expected)
    ranges = find_ranges(config, subject, chip.copies)
    several = replace(subject, elsewhere=two)
    found = [
        measure_accuracy(chip, each, ranges, GivenCorrection(), None, 1, lambda *_: None)
        for each in (subject, several)
    ]
    alone, shared = (accuracy.seeds for accuracy in found)
    assert [s.chip_seed for s in shared] == [0, 1, 2]
    for one, other in zip(alone, shared, strict=True):
        assert np.array_equal(one.noisy.nll, other.noisy.nll)
    assert not np.array_equal(alone[0].noisy.nll, alone[1].noisy.nll)


def test_numbers_that_depend_on_time_are_refused_by_name(run_tiny: Runner) -> None:
    switching = ("chip.tiles=6", "chip.switching=lru", "tile.pes=1", "tile.device.sigma=0.1")
    with pytest.raises(CimsimError, match="computed visit by visit") as refused:
        run_tiny("isaac", *switching, TORCH)
    assert refused.value.key == "run.backend"


def test_what_is_not_there_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    run = tiny_chip("isaac", "run.device=cuda:7").run
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(CimsimError, match="torch sees no CUDA device"):
        open_compute(run)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(CimsimError, match="cuda:0 to cuda:1"):
        open_compute(run)
    monkeypatch.setattr("cimsim.stages.compute.find_spec", lambda _: None)
    with pytest.raises(CimsimError, match=r"pip install 'cimsim\[torch\]'"):
        open_compute(run)
