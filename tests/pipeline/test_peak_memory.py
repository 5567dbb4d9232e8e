"""Memory of a run is known before it, bounded for a model of any size, and refused beyond."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_model import SMALL

from cimsim.bench.memory import watch
from cimsim.chip import analog_units
from cimsim.cli.summary import memory_line
from cimsim.config import ChipConfig
from cimsim.config.load import find_chip, load_chip
from cimsim.errors import CimsimError
from cimsim.stages import memory
from cimsim.stages.memory import check_device, check_memory, machine_bytes, peak_bytes
from cimsim.workload.shapes import SHAPES, build_shape
from tests.command_line import run_here

GB = 1e9


def _chip(*overrides: str) -> ChipConfig:
    knobs = ("run.tile_mode=folded", "run.chip_seeds=1", "calibration.method=identity")
    return load_chip(find_chip("eflash_40nm"), (*knobs, "workload.tokens=2048", *overrides))


def _peak(config: ChipConfig, name: str, layers: int, threads: int = 1) -> int:
    program = build_shape(replace(SHAPES[name], layers=layers))
    return peak_bytes(config, program, analog_units(program, config), threads)


def test_a_released_model_needs_less_than_eight_gigabytes_however_many_layers_it_has() -> None:
    whole, part = (_peak(_chip(), "olmoe-1b-7b", layers) for layers in (16, 4))
    assert 4 * GB < part <= whole < 8 * GB
    # What further layers add are their norms: two of 2,048 numbers each.
    assert whole - part == 12 * 2 * 2048 * 4


def test_a_device_that_holds_no_layer_is_refused_with_what_it_takes() -> None:
    program = build_shape(replace(SHAPES["olmoe-1b-7b"], layers=2))
    config = _chip("run.device=cuda", "run.device_gb=1")
    check_device(config, program, None)
    check_device(config, program, 2 * 10**9)
    with pytest.raises(CimsimError, match=r"takes 1\.7 GB on the device.*are 1\.0 GB") as refused:
        check_device(config, program, 10**9)
    assert (refused.value.key, refused.value.allowed) == ("run.device_gb", "at least 1.7 GB")


def test_chip_seeds_at_once_each_keep_their_copies() -> None:
    one, two, more = (
        _peak(_chip("run.chip_seeds=2"), "olmoe-1b-7b", 4, threads) for threads in (1, 2, 3)
    )
    assert two - one > memory.NUMBA.kept_bytes
    assert more == two


@pytest.mark.parametrize(
    ("model", "layers", "vocabulary"),
    [("olmoe-1b-7b", 16, 50304), ("deepseek-moe-16b", 28, 102400)],
)
def test_calibration_records_grow_with_its_text(model: str, layers: int, vocabulary: int) -> None:
    small, large = (
        _peak(_chip("calibration.method=romer", f"calibration.tokens={n}"), model, layers)
        for n in (5_000, 10_000)
    )
    # 4,000 tokens more to fit on: inputs of attention and router, clean and noisy, each as wide as
    # the model, whose first dense layer may be wider; 1,000 more to accept on: four arrays of the
    # vocabulary.
    assert large - small == 4 * (4_000 * 2 * 2 * layers * 2048 + 1_000 * 4 * vocabulary)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc of Linux")
def test_a_run_stays_below_what_was_predicted(tiny_model: Path, tmp_path: Path) -> None:
    options = [word for knob in SMALL for word in ("--set", knob)]
    wanted = ["isaac", *options, "--model", str(tiny_model), "--jobs", "1", "--out", "run"]
    told = run_here("run", *wanted, "--dry-run", folder=tmp_path)
    assert told.returncode == 0, told.stderr
    found = re.search(r"memory: at most about (\S+) GB at the peak", told.stdout)
    assert found is not None
    wanted[-1] = str(tmp_path / "run")
    measured = watch([sys.executable, "-m", "tests.small_shape", "run", *wanted])
    assert 0.3 * float(found[1]) < measured["peak RSS, MB"] / 1e3 < float(found[1])  # type: ignore[operator]


def test_a_run_beyond_the_machine_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    check_memory(machine_bytes(), 1)
    with pytest.raises(CimsimError, match="would take") as refused:
        check_memory(machine_bytes() + 1, 3)
    assert "--jobs" in str(refused.value)
    assert "GB" in memory_line(7_400_000_000)
    limit = tmp_path / "memory.max"
    limit.write_text("1000\n")
    monkeypatch.setattr(memory, "CGROUP", limit)
    assert machine_bytes() == 1000
    limit.write_text("max\n")
    assert machine_bytes() > 1 << 30
