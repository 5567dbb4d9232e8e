"""Simulated annealing on hop-bytes under load limits, from a load-balanced start."""

from __future__ import annotations

from moe_mapping.anneal import anneal
from moe_mapping.assignment import Assignment
from moe_mapping.plan import assignment_of, copy_plan
from moe_mapping.policies.local_search import search
from moe_mapping.problem import MappingProblem
from moe_mapping.state import Plan, value

__all__ = ["cool_down", "place"]

MOVES = 2_100_000
"""Proposals of all runs together."""

MOVES_PER_UNIT = 4_000
"""Proposals of one run for each unit; what is left goes to further runs."""

MOST_RUNS = 8

HEAT, COOL = 0.6, 0.004
"""First and last temperature in mean changes of a random move."""


def place(problem: MappingProblem, seed: int) -> Assignment:
    """Balance the load, then anneal the whole objective.

    Without traffic between units or a current assignment only the load is left, which the
    local search has settled.
    """
    return assignment_of(problem.fixed, cool_down(problem, search(problem, seed), seed))


def cool_down(problem: MappingProblem, plan: Plan, seed: int) -> Plan:
    """Return the best of several annealed plans, never worse than the one given."""
    fixed = problem.fixed
    if fixed.price[1] == 0.0 and fixed.price[3] == 0.0:
        return plan
    moves = min(MOVES, MOVES_PER_UNIT * problem.n_units)
    runs = [plan]
    for run in range(min(MOST_RUNS, MOVES // moves)):
        runs.append(copy_plan(plan))
        anneal(fixed, runs[-1], moves, HEAT, COOL, seed * MOST_RUNS + run)
    return min(runs, key=lambda found: value(fixed, found))
