"""Which copy serves a token: the static rule, or the least loaded copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.engine.events.compiled import run_compiled
from cimsim.engine.events.simpy_loop import run_simpy
from cimsim.engine.plan import Plan
from tests.engine.chips import make_config, make_shape, make_system
from tests.engine.test_compiled import differences, lower, random_plan
from tests.twins.events.reference import run_reference
from tests.twins.events.replicas import ReplicaChoice


def plan_with(choice: str, experts: list[int], copies: int = 2, **tile: object) -> Plan:
    """One MoE layer, top-1: the tokens of one flight choose the given experts."""
    config = make_config(
        mapping={"replica_choice": choice},
        chip={"analog_parts": ["experts"]},
        run={"flight_tokens": len(experts)},
        tile=tile,
    )
    shape = make_shape(layers=1, experts=4, top_k=1)
    system = make_system(
        shape=shape, config=config, sequences=1, length=len(experts), copies=copies
    )
    routing = np.array(experts, dtype=np.int16).reshape(-1, 1, 1)
    return lower(replace(system, trace=replace(system.trace, experts=routing)), "prefill", 1)


def vectors_of_copies(plan: Plan, expert: int) -> list[int]:
    sites = plan.copies.expert_sites[
        plan.copies.expert_ptr[expert] : plan.copies.expert_ptr[expert + 1]
    ]
    return run_simpy(plan).site_vectors[sites].tolist()  # type: ignore[no-any-return]


def test_static_choice_follows_the_token_and_least_loaded_the_load() -> None:
    # Expert 0 has two copies; tokens 0, 2, 4 and 6 choose it: the static rule gives all of
    # them to copy 0, because their index is even.
    experts = [0, 1, 0, 1, 0, 1, 0, 1]
    assert vectors_of_copies(plan_with("static", experts), 0) == [4, 0]
    assert vectors_of_copies(plan_with("least_loaded", experts), 0) == [2, 2]


def test_a_busy_copy_is_passed_over_until_the_others_are_as_late() -> None:
    plan = plan_with("least_loaded", [0] * 4, pe={"crossbars": 1})
    first, second = plan.copies.expert_sites[
        plan.copies.expert_ptr[0] : plan.copies.expert_ptr[1]
    ].tolist()
    interval = int(plan.sites.interval_ps[first])
    servers = [plan.sites.servers[a:b].tolist() for a, b in zip(plan.sites.server_ptr[:-1],
               plan.sites.server_ptr[1:], strict=True)]  # fmt: skip
    free = [0] * plan.sites.n_servers
    free[servers[first][0]] = 2 * interval
    assert not set(servers[first]) & set(servers[second])
    choice = ReplicaChoice(plan, free, servers)
    # Ready: copy 0 after 2 intervals, copy 1 after 0, 1, then 2 intervals: the tie goes to 0.
    assert [choice.choose([first, second], t, 0) for t in range(4)] == [
        second, second, first, second,
    ]  # fmt: skip
    choice.begin(second, 3)
    assert choice.choose([first, second], 4, 0) == second


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    experts=st.lists(st.integers(0, 3), min_size=1, max_size=24),
    copies=st.integers(1, 3),
    choice=st.sampled_from(["static", "least_loaded"]),
)
def test_every_token_is_served_by_exactly_one_copy(
    experts: list[int], copies: int, choice: str
) -> None:
    plan = plan_with(choice, experts, copies)
    served = [sum(vectors_of_copies(plan, e)) for e in range(4)]
    assert served == np.bincount(experts, minlength=4).tolist()


def test_least_loaded_changes_runs_and_both_engines_agree(scaled: Callable[[int], int]) -> None:
    moved = 0
    for seed in range(1000, 1000 + scaled(100)):
        plan = replace(random_plan(seed), least_loaded=True)
        slow = run_reference(plan)
        assert differences(slow, run_compiled(plan)) == [], f"seed {seed}"
        assert differences(slow, run_simpy(plan)) == [], f"seed {seed}"
        static = run_simpy(replace(plan, least_loaded=False))
        moved += not np.array_equal(static.site_vectors, slow.site_vectors)
    assert moved
