"""Time of chip seed 0 while further chip seeds are computed on a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from cimsim.mac import AdcRange
from cimsim.stages import first_seed, outcome
from cimsim.stages.accuracy import GivenCorrection
from cimsim.stages.compute import NumbaCompute
from cimsim.stages.models import read_text
from cimsim.stages.outcome import Outcome, evaluate
from cimsim.stages.placed_chip import PlacedChip, place_chip
from cimsim.stages.ranges import find_ranges
from cimsim.stages.subject import ModelOnText, open_subject
from cimsim.workload.matrix import MatrixId
from tests.pipeline.conftest import tiny_chip

Case = tuple[PlacedChip, ModelOnText, dict[MatrixId, AdcRange]]


class Device(NumbaCompute):
    """A processor that computes one chip at a time, as devices do."""

    seeds_at_once = False


@pytest.fixture
def case(tiny_model: Path) -> Case:
    """Two chip seeds that err, placed, and the ranges of their converters."""
    config = tiny_chip("eflash_40nm", "run.chip_seeds=2", "tile.device.sigma_lsb=3")
    subject = open_subject(str(tiny_model), read_text(None), config)
    chip = place_chip(config, subject.program, subject.expected)
    return chip, subject, find_ranges(config, subject, chip.copies)


def test_the_first_chip_is_timed_while_a_device_computes_the_next_one(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip, subject, ranges = case
    begun = Event()
    time_routings = first_seed.time_routings

    def timed(*args: Any, **kwargs: Any) -> Any:
        begun.set()
        return time_routings(*args, **kwargs)

    monkeypatch.setattr(first_seed, "time_routings", timed)

    def found(compute: NumbaCompute, *, beside: bool) -> Outcome:
        begun.clear()
        said: list[str] = []

        def progress(stage: str, _share: float) -> None:
            said.append(stage)
            if stage == "scoring, chip 2 of 2":
                assert begun.wait(60) if beside else not begun.is_set()

        own = replace(subject, compute=compute)
        answer = evaluate(chip, own, ranges, GivenCorrection(), "trace", 1, progress)
        assert "scoring, chip 2 of 2" in said
        assert said[-1] == "events"
        return answer

    after, beside = found(NumbaCompute(), beside=False), found(Device(), beside=True)
    assert after.first.density == beside.first.density
    assert after.first.calibration.cells == beside.first.calibration.cells
    assert after.first.scale == beside.first.scale
    assert np.array_equal(after.first.dealt_load_ps, beside.first.dealt_load_ps)
    for name in ("before", "after"):
        one, other = getattr(after.first, name), getattr(beside.first, name)
        assert [p.name for p in one.phases] == [p.name for p in other.phases]
        for p, q in zip(one.phases, other.phases, strict=True):
            assert p.result.makespan_ps == q.result.makespan_ps
            assert p.ledger.by_component() == q.ledger.by_component()
    assert [s.noisy.nll.tolist() for s in after.accuracy.seeds] == [
        s.noisy.nll.tolist() for s in beside.accuracy.seeds
    ]


def test_a_run_that_is_stopped_does_not_wait_for_the_events_of_its_first_chip(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip, subject, ranges = case
    begun, goes_on, ended = Event(), Event(), Event()

    def timed(*_args: Any, **_kwargs: Any) -> None:
        begun.set()
        goes_on.wait(60)
        ended.set()

    def progress(stage: str, _share: float) -> None:
        if stage.endswith("chip 2 of 2"):
            assert begun.wait(60)
            raise KeyboardInterrupt

    monkeypatch.setattr(outcome, "time_first", timed)
    own = replace(subject, compute=Device())
    with pytest.raises(KeyboardInterrupt):
        evaluate(chip, own, ranges, GivenCorrection(), "trace", 1, progress)
    assert not ended.is_set()
    goes_on.set()
