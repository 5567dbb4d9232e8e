"""The engine drives a model: what it asks, when, and that time is what it would be alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cimsim.engine.events.simpy_loop import run_simpy
from cimsim.engine.numbers import rows_of_visit
from cimsim.engine.plan import Plan
from cimsim.engine.run import time_plan
from cimsim.engine.visit import Visit
from cimsim.errors import CimsimError
from tests.engine.chips import make_system
from tests.engine.test_compiled import differences, lower, random_plan
from tests.twins.events.reference import run_reference


class Replay:
    """A model whose routing is known: it says it stage by stage and checks the engine."""

    def __init__(self, plan: Plan, experts: np.ndarray) -> None:
        self.plan, self.known = plan, experts
        self.step = np.full(plan.flights.count, -1)
        self.tokens = np.zeros((plan.flights.count, len(plan.steps)), dtype=np.int64)
        self.starts: list[tuple[int, int, int, int]] = []
        self.holds = plan.slots.initial.tolist()
        self.slot = {int(site): i for i, site in enumerate(plan.slots.site)}
        self.writes: list[tuple[int, int, int]] = []

    def stage(self, flight: int, step: int) -> None:
        assert step == self.step[flight] + 1  # every step once, in order
        self.step[flight] = step
        layer = int(self.plan.step.moe[step])
        if layer >= 0:
            first = int(self.plan.flights.first[flight])
            rows = slice(first, first + int(self.plan.flights.size[flight]))
            assert (self.plan.experts[rows, layer] == -1).all()  # nobody knew before
            self.plan.experts[rows, layer] = self.known[rows, layer]
        if step == len(self.plan.steps) - 1:
            first = int(self.plan.flights.first[flight])
            rows = slice(first, first + int(self.plan.flights.size[flight]))
            self.plan.experts[rows] = self.known[rows]

    def serve(self, visit: Visit, start_ps: int) -> None:
        flight, step = visit.flight, int(self.step[visit.flight])
        rows = rows_of_visit(visit)
        assert len(rows) == visit.size
        assert rows.max() < self.plan.flights.size[flight]
        if visit.expert >= 0:
            assert self.holds[self.slot[visit.site]] == visit.expert
            chosen = self.known[int(self.plan.flights.first[flight]) + rows]
            moe = int(self.plan.step.moe[step])
            here = visit.expert - moe * self.plan.n_experts
            assert (chosen[:, moe] == here).any(axis=1).all()
        self.tokens[flight, step] += visit.size
        self.starts.append((flight, step, visit.site, start_ps))

    def written(self, slot: int, expert: int, end_ps: int) -> None:
        self.holds[slot] = expert
        self.writes.append((slot, expert, end_ps))


def test_time_is_the_same_whether_the_model_runs_before_or_beside_it(
    scaled: Callable[[int], int],
) -> None:
    switched = 0
    for seed in range(2000, 2000 + scaled(300)):
        plan = random_plan(seed)
        known = plan.experts.copy()
        alone = run_reference(plan)
        plan = replace(plan, experts=np.full_like(known, -1))
        model = Replay(plan, known)
        beside = run_simpy(plan, numbers=model)
        assert differences(alone, beside) == [], f"seed {seed}"
        # Every token was served where it should be, once, at the time that the log says.
        due = np.zeros(len(plan.steps), dtype=np.int64)
        k = known.shape[2]
        due += (plan.step.group >= 0) + (plan.step.shared >= 0) + k * (plan.step.moe >= 0)
        assert np.array_equal(model.tokens, plan.flights.size[:, None] * due)
        assert [tuple(v) for v in alone.visits[:, [0, 1, 2, 6]].tolist()] == model.starts
        done = alone.writes[alone.writes[:, 6] <= alone.end_ps]
        seen = [w for w in model.writes if w[2] < alone.end_ps]
        assert set(seen) <= {(w[0], w[1], w[6]) for w in done.tolist()}
        switched += bool(seen)
    assert switched


def test_numbers_need_the_engine_that_can_call_back() -> None:
    system = make_system()
    plan = lower(system, "prefill", 1)
    known = plan.experts.copy()
    with pytest.raises(CimsimError, match="SimPy engine only") as caught:
        time_plan(
            system, plan, engine="compiled", numbers=lambda p: Replay(p, known),
        )  # fmt: skip
    assert caught.value.key == "run.engine"
    result = time_plan(system, plan, engine="auto", numbers=lambda p: Replay(p, known))
    assert result.engine == "simpy"
    assert (plan.experts == known).all()
