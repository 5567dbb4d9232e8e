"""Round robin: units to tiles in turn, in index order; the baseline that looks at nothing.

Spare crossbars are filled the same way: replicas in index order, each to the next site
with room that does not hold the unit yet. It stays as what gains are measured against: the
ablation finds it best on 1 of 53 problems, tied.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moe_mapping.feasibility import can_put
from moe_mapping.kernel import inner, kernel
from moe_mapping.packing import place_one_each, sites_of
from moe_mapping.plan import empty_plan
from moe_mapping.problem import MappingProblem
from moe_mapping.registry import register_search
from moe_mapping.state import REPLICAS, Fixed, WorkingPlan, put

__all__ = ["deal"]


@inner
def _deal(fixed: Fixed, plan: WorkingPlan, cursor: NDArray[np.int64], unit: int) -> bool:
    """Put a copy on the next site of the unit's class that has room."""
    sites = sites_of(fixed, unit)
    kind = fixed.unit_class[unit] + 1
    for step in range(sites.size):
        at = (cursor[kind] + step) % sites.size
        if can_put(fixed, plan, unit, sites[at]):
            put(fixed, plan, unit, sites[at])
            cursor[kind] = at + 1
            return True
    return False


@kernel
def _deal_all(fixed: Fixed, plan: WorkingPlan) -> bool:
    cursor = np.zeros(fixed.class_start.size + 1, dtype=np.int64)
    for unit in range(fixed.need.size):
        if not _deal(fixed, plan, cursor, unit):
            return False
    _deal_replicas(fixed, plan, cursor)
    return True


@kernel
def _deal_replicas(fixed: Fixed, plan: WorkingPlan, cursor: NDArray[np.int64]) -> None:
    smallest = fixed.need.max()
    for unit in range(fixed.need.size):
        if fixed.replicable[unit]:
            smallest = min(smallest, fixed.need[unit])
    placed = True
    while placed:
        placed = False
        for unit in range(fixed.need.size):
            if plan.totals[REPLICAS] + smallest > fixed.limits[0]:
                return
            if fixed.replicable[unit] and _deal(fixed, plan, cursor, unit):
                placed = True


@register_search("round_robin", by_index=True)
def deal(problem: MappingProblem, fixed: Fixed, seed: int) -> WorkingPlan:
    """Deal units, then replicas, to sites in turn."""
    del problem, seed
    plan = empty_plan(fixed)
    if not _deal_all(fixed, plan):
        plan = place_one_each(fixed, np.arange(fixed.need.size))
        _deal_replicas(fixed, plan, np.zeros(fixed.class_start.size + 1, dtype=np.int64))
    return plan
