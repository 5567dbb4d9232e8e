"""Random placement without replicas: what no policy that looks at anything may lose to."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from moe_mapping.assignment import Assignment
from moe_mapping.draws import below, permutation
from moe_mapping.packing import place_one_each, sites_of
from moe_mapping.plan import assignment_of, empty_plan, fixed_of
from moe_mapping.problem import MappingProblem
from moe_mapping.state import Fixed, Plan, can_put, put

__all__ = ["place"]


@njit(cache=True)
def _scatter(fixed: Fixed, plan: Plan, order: NDArray[np.int64], seed: int) -> bool:
    """Put every unit on a random site among those with room."""
    for i in range(order.size):
        unit = order[i]
        sites = sites_of(fixed, unit)
        usable = 0
        for site in sites:
            usable += can_put(fixed, plan, unit, site)
        if usable == 0:
            return False
        pick = below(seed, i, usable)
        for site in sites:
            if can_put(fixed, plan, unit, site):
                if pick == 0:
                    put(fixed, plan, unit, site)
                    break
                pick -= 1
    return True


def place(problem: MappingProblem, seed: int) -> Assignment:
    """Place units in random order on random sites with room."""
    fixed = fixed_of(problem)
    plan = empty_plan(fixed)
    order = permutation(seed, problem.n_units)
    if not _scatter(fixed, plan, order, seed + 1):
        plan = place_one_each(fixed, order)
    return assignment_of(fixed, plan)
