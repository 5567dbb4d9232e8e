"""Simulated annealing on hop-bytes and layers under load limits, from a balanced start.

Hop-bytes are far from their best in a plan that only balances loads: runs start hot and
forget it. The times of single layers can be lowered nearly for free by exchanging copies of
other layers that are about as busy: runs start cool and keep the balance, one from the plan
given and one from replicas chosen for layers.
"""

from __future__ import annotations

from moe_mapping.anneal import anneal
from moe_mapping.layering import layered
from moe_mapping.plan import copy_plan
from moe_mapping.policy.local_search import search
from moe_mapping.problem import MappingProblem
from moe_mapping.registry import register_search
from moe_mapping.state import Fixed, WorkingPlan, value

__all__ = ["annealing", "cool_down"]

MOVES = 2_100_000
"""Proposals of all runs together."""

MOVES_PER_UNIT = 4_000
"""Proposals of one run for each unit; what is left goes to further runs."""

MOST_RUNS = 8
SEEDS = 1 << 63  # that a kernel takes

HEAT, COOL = 0.6, 0.004
"""First and last temperature in mean changes of a random move: for hop-bytes."""

LAYER_MOVES = 500_000
LAYER_MOVES_PER_UNIT = 2_000
LAYER_HEAT, LAYER_COOL = 0.1, 0.001
"""The same for layers: cool enough to stay balanced."""


@register_search("annealing")
def annealing(problem: MappingProblem, fixed: Fixed, seed: int) -> WorkingPlan:
    """Balance the load, then anneal the whole objective.

    Without traffic between units, a current assignment or several layers only the load is
    left, which the local search has settled.
    """
    return cool_down(fixed, search(problem, fixed, seed), seed)


def cool_down(fixed: Fixed, plan: WorkingPlan, seed: int) -> WorkingPlan:
    """Return the best of several annealed plans, never worse than the one given."""
    units, runs = fixed.need.size, [plan]
    if fixed.price[4] != 0.0:
        moves = min(LAYER_MOVES, LAYER_MOVES_PER_UNIT * units)
        for start in (copy_plan(plan), layered(fixed)):
            runs.append(start)
            anneal(fixed, start, moves, LAYER_HEAT, LAYER_COOL, seed)
    if fixed.price[1] != 0.0 or fixed.price[3] != 0.0:
        moves = min(MOVES, MOVES_PER_UNIT * units)
        for run in range(min(MOST_RUNS, MOVES // moves)):
            runs.append(copy_plan(plan))
            anneal(fixed, runs[-1], moves, HEAT, COOL, (seed * MOST_RUNS + run) % SEEDS)
    return min(runs, key=lambda found: value(fixed, found))
