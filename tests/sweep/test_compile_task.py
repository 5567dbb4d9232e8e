"""The first tasks of a run on an empty cache of kernels."""

from __future__ import annotations

import pytest

from cimsim.engine.events.loop import advance
from cimsim.kernel_cache import is_missing
from cimsim.sweeps import compile_task
from cimsim.sweeps.compile_task import POLICIES, CompileTask, compile_kernels
from cimsim.sweeps.executor import Workplace
from moe_mapping.balance import lower_peak


def _silent(*_said: object) -> None:
    """Hear nothing."""


def test_where_kernels_are_kept_no_process_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_task, "is_missing", lambda _kernel: False)
    monkeypatch.setattr(compile_task, "LocalProcesses", None)
    compile_kernels(_silent)


def test_each_half_calls_its_own_kernels_and_needs_no_second_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    placed, computed = [], []
    place, evaluate = compile_task.place_chip, compile_task.evaluate

    def placing(config, program, expected):
        placed.append(config.mapping.policy)
        return place(config, program, expected)

    def computing(*given):
        computed.append(evaluate(*given))
        return computed[-1]

    monkeypatch.setattr(compile_task, "place_chip", placing)
    monkeypatch.setattr(compile_task, "evaluate", computing)
    for half in POLICIES:
        CompileTask(half).run(Workplace(_silent, {}))
    assert placed == ["auto", "round_robin"]
    assert len(computed) == 1
    # The kernels that tell so: both were called here, and are kept now.
    assert lower_peak.signatures
    assert advance.signatures
    assert not is_missing(lower_peak)
    assert not is_missing(advance)
