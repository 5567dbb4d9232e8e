"""As many chips run side by side on a device as it has room for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_model import SMALL

from cimsim.chip import analog_units
from cimsim.config.load import find_chip, load_chip
from cimsim.stages import plan
from cimsim.stages.device_share import DeviceShare, side_by_side
from cimsim.stages.memory import device_bytes
from cimsim.stages.models import open_model
from cimsim.stages.plan import Request, RunPlan, make_plan
from cimsim.workload.shapes import SHAPES, build_shape

GB = 10**9


def test_chips_that_have_room_together_run_together() -> None:
    shares = [DeviceShare(("cuda",), 64 * GB), DeviceShare(("cuda",), 65 * GB)]
    assert side_by_side(shares, {"cuda": 129 * GB}, 2) == (2, None)
    jobs, told = side_by_side(shares, {"cuda": 128 * GB}, 2)
    assert jobs == 1
    assert told is not None
    assert "2 would keep 129 GB on cuda, where 128 GB are free" in told
    assert side_by_side(shares, {"cuda": 128 * GB}, 1) == (1, None)  # nothing was asked for


def test_a_chip_that_has_no_room_by_itself_runs_alone() -> None:
    shares = [DeviceShare(("cuda",), 150 * GB), DeviceShare(("cuda",), 1 * GB)]
    assert side_by_side(shares, {"cuda": 140 * GB}, 2)[0] == 1


def test_the_largest_chips_decide_whatever_their_order() -> None:
    shares = [DeviceShare(("cuda",), n * GB) for n in (10, 50, 20, 60)]
    jobs, told = side_by_side(shares, {"cuda": 120 * GB}, 4)
    assert jobs == 2
    assert told is not None
    assert "3 would keep 130 GB" in told


def test_chips_on_devices_of_their_own_do_not_wait_for_each_other() -> None:
    shares = [DeviceShare(("cuda:0",), 60 * GB), DeviceShare(("cuda:1",), 60 * GB)]
    free = {"cuda:0": 80 * GB, "cuda:1": 80 * GB}
    assert side_by_side(shares, free, 2) == (2, None)
    both = [*shares, DeviceShare(("cuda:0", "cuda:1"), 60 * GB)]
    assert side_by_side(both, free, 3)[0] == 1
    assert side_by_side(shares, {}, 2) == (2, None)


@pytest.mark.parametrize(("chip", "cells"), [("eflash_40nm", 4), ("isaac", 4)])
def test_a_chip_keeps_weights_forms_and_cells_of_a_device_that_has_room(
    chip: str, cells: int
) -> None:
    knobs = ("calibration.method=identity", "workload.tokens=256")
    config = load_chip(find_chip(chip), knobs)
    sizes, found = [], []
    for layers in (1, 2):
        program = build_shape(replace(SHAPES["olmoe-1b-7b"], layers=layers))
        found.append(device_bytes(config, program, analog_units(program, config)))
        sizes.append(sum(m.size for m in program.layers[-1].matrices()))
    # Two bytes of a weight, two of its form; pairs of 7-bit cells take two bytes each, four slices
    # of two bits one each and unit columns some more.
    assert (found[1] - found[0]) / sizes[1] == pytest.approx(2 + 2 + cells, rel=0.02)
    assert found[1] - found[0] >= 8 * sizes[1]


def _planned(tmp_path: Path, model: Path, *more: str, jobs: int | None = None) -> RunPlan:
    knobs = (*SMALL, "run.device=cuda", *more)
    chips = ("eflash_40nm", "isaac")
    return make_plan(Request(chips, knobs, (str(model),), jobs=jobs, out=tmp_path / "run"))


def test_a_run_says_which_device_its_chips_wait_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_model: Path
) -> None:
    free = [10**12]
    monkeypatch.setattr(plan, "open_compute", lambda _: SimpleNamespace(device_bytes=free[0]))
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "a device")
    monkeypatch.setattr(plan, "usable_cores", lambda: 4)
    wide = _planned(tmp_path, tiny_model)
    assert (wide.jobs, wide.warnings) == (2, ())
    needs = []
    for task in wide.tasks:
        program = open_model(str(tiny_model)).program
        needs.append(device_bytes(task.config, program, analog_units(program, task.config)))
    free[0] = sum(needs) - 1
    narrow = _planned(tmp_path, tiny_model)
    assert (narrow.jobs, narrow.threads) == (1, 4)
    assert narrow.warnings[-1].startswith("chips at once: 1, as 2 would keep")
    # Who asks for more, or has shared the memory out, gets it.
    assert _planned(tmp_path, tiny_model, jobs=2).jobs == 2
    assert _planned(tmp_path, tiny_model, "run.device_gb=1").jobs == 2
