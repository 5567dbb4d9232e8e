"""Random placement without replicas: what no policy that looks at anything may lose to.

A yardstick of the battery (`moe_mapping.testing`); never alone the best in the ablation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moe_mapping.draws import below, permutation
from moe_mapping.feasibility import fits_site
from moe_mapping.kernel import kernel
from moe_mapping.packing import place_one_each, sites_of
from moe_mapping.plan import empty_plan
from moe_mapping.problem import MappingProblem
from moe_mapping.registry import register_search
from moe_mapping.state import Fixed, WorkingPlan, put

__all__ = ["scatter"]


@kernel
def _scatter(fixed: Fixed, plan: WorkingPlan, order: NDArray[np.int64], seed: int) -> bool:
    """Put every unit on a random site among those with room."""
    for i in range(order.size):
        unit = order[i]
        sites = sites_of(fixed, unit)
        fits = np.empty(sites.size, dtype=np.int64)
        usable = 0
        for site in sites:
            if fits_site(fixed, plan, unit, site):
                fits[usable] = site
                usable += 1
        if usable == 0:
            return False
        put(fixed, plan, unit, fits[below(seed, i, usable)])
    return True


@register_search("random")
def scatter(problem: MappingProblem, fixed: Fixed, seed: int) -> WorkingPlan:
    """Place units in random order on random sites with room."""
    del problem
    plan = empty_plan(fixed)
    order = permutation(seed, fixed.need.size)
    if not _scatter(fixed, plan, order, seed + 1):
        plan = place_one_each(fixed, order)
    return plan
