"""The first tasks of a run on an empty cache of kernels."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_model import SMALL

from cimsim.config.load import find_chip, load_chip
from cimsim.stages.models import read_text
from cimsim.sweeps import compile_task
from cimsim.sweeps.compile_task import CompileTask, compile_kernels
from cimsim.sweeps.executor import Workplace


def _silent(*_said: object) -> None:
    """Hear nothing."""


def test_where_kernels_are_kept_no_process_starts(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile_task, "is_missing", lambda _kernel: False)
    monkeypatch.setattr(compile_task, "LocalProcesses", None)
    config = load_chip(find_chip("isaac"), SMALL)
    compile_kernels(config, str(tiny_model), read_text(None), (), _silent)


def test_each_half_calls_its_own_kernels(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    config = load_chip(find_chip("isaac"), SMALL)
    for half in ("placing", "others"):
        task = CompileTask(half, config, str(tiny_model), read_text(None))
        task.run(Workplace(_silent, {}))
    assert placed == [config.mapping.policy, "round_robin"]
    assert len(computed) == 1


def test_what_is_wrong_with_a_chip_is_left_to_its_own_run(tmp_path: Path) -> None:
    config = load_chip(find_chip("isaac"))
    for half in ("placing", "others"):
        CompileTask(half, config, str(tmp_path / "none"), read_text(None)).run(
            Workplace(_silent, {})
        )
