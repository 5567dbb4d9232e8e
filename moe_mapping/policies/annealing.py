"""Simulated annealing on hop-bytes under load limits, from a load-balanced start."""

from __future__ import annotations

from moe_mapping.anneal import anneal
from moe_mapping.assignment import Assignment
from moe_mapping.plan import assignment_of, fixed_of
from moe_mapping.policies.local_search import search
from moe_mapping.problem import MappingProblem

__all__ = ["MOVES", "place"]

MOVES = 600_000
"""Proposals; enough for 64 experts on 64 tiles to come within 1 % of the best known."""

HEAT, COOL = 0.6, 0.004


def place(problem: MappingProblem, seed: int) -> Assignment:
    """Balance the load, then anneal the whole objective.

    Without traffic between units or a current assignment only the load is left, which the
    local search has settled.
    """
    fixed = fixed_of(problem)
    plan = search(problem, fixed, seed)
    if fixed.price[1] > 0.0 or fixed.price[3] > 0.0:
        anneal(fixed, plan, MOVES, HEAT, COOL, seed)
    return assignment_of(fixed, plan)
