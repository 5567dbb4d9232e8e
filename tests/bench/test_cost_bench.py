"""The share of a run that evaluating costs takes: the outermost calls, each once."""

from __future__ import annotations

import time

import pytest

from cimsim.bench.cost import METHODS, _Clock, timed_cost
from cimsim.cost import CostModel
from tests.cost.chips import assemble, chip


def test_nested_calls_are_timed_once() -> None:
    clock = _Clock()

    def burn() -> None:
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass

    inner = clock.around(burn)
    outer = clock.around(lambda: (inner(), inner()))
    outer()
    assert clock.spent_s == pytest.approx(0.04, abs=0.015)
    assert clock.depth == 0


def test_the_cost_model_is_timed_while_the_context_lasts_and_unchanged_after() -> None:
    before = {name: getattr(CostModel, name) for name in METHODS}
    with timed_cost() as clock:
        cost, _, units = assemble(chip())
        assert cost.visit_timing(units[0]).interval_ps > 0
    assert clock.spent_s > 0.0
    assert {name: getattr(CostModel, name) for name in METHODS} == before
