"""Separating copies of one layer that share a tile, at no price.

A token visits several experts of a layer at once; two of them on one tile serve it one
after the other. The objective sees this only where it makes the layer's slowest tile. Here
copies change places with copies of other layers as long as that leaves fewer neighbours of
the same layer and the objective is no worse: a choice among plans that it holds for equal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moe_mapping.feasibility import can_swap
from moe_mapping.kernel import inner, kernel
from moe_mapping.state import Fixed, WorkingPlan, rebuild, swap, value

__all__ = ["neighbours", "separate"]

Ints = NDArray[np.int64]

_SWEEPS = 3
_EQUAL = 1.0 + 1e-12  # the rounding of a few moves


@kernel
def separate(fixed: Fixed, plan: WorkingPlan) -> None:
    """Exchange copies until none that has a neighbour of its layer can be freed of it."""
    limit = value(fixed, plan) * _EQUAL
    there = _count(fixed, plan)
    for _ in range(_SWEEPS):
        changed = False
        for u in range(fixed.need.size):
            for k in range(plan.copies[u]):
                if _crowd(fixed, there, plan.site[u, k], fixed.layer[u]) > 1:
                    changed = _free(fixed, plan, there, u, k, limit) or changed
        if not changed:
            break
    rebuild(fixed, plan)


@kernel
def neighbours(fixed: Fixed, plan: WorkingPlan) -> int:
    """Count copies that share a tile with an earlier copy of their own layer, by tile."""
    return int(np.maximum(_count(fixed, plan) - 1, 0).sum())


@inner
def _count(fixed: Fixed, plan: WorkingPlan) -> Ints:
    """Return the copies of every layer on every tile, [T, L]."""
    there = np.zeros((fixed.room.size, fixed.layer.max() + 1), dtype=np.int64)
    for u in range(fixed.need.size):
        for k in range(plan.copies[u]):
            _mark(fixed, there, plan.site[u, k], fixed.layer[u], 1)
    return there


@inner
def _mark(fixed: Fixed, there: Ints, site: int, layer: int, sign: int) -> None:
    for part in range(fixed.site_start[site], fixed.site_start[site + 1]):
        there[fixed.site_tile[part], layer] += sign


@inner
def _crowd(fixed: Fixed, there: Ints, site: int, layer: int) -> int:
    """Return the most copies of a layer on a tile of a site."""
    most = 0
    for part in range(fixed.site_start[site], fixed.site_start[site + 1]):
        most = max(most, there[fixed.site_tile[part], layer])
    return most


@inner
def _free(fixed: Fixed, plan: WorkingPlan, there: Ints, u: int, k: int, limit: float) -> bool:
    """Exchange copy k of u with the first copy that leaves fewer neighbours, if any."""
    a, lu = plan.site[u, k], fixed.layer[u]
    crowd = _crowd(fixed, there, a, lu)
    for v in range(fixed.need.size):
        lv = fixed.layer[v]
        if lv == lu or fixed.unit_class[v] != fixed.unit_class[u]:
            continue
        for m in range(plan.copies[v]):
            b = plan.site[v, m]
            before = crowd + _crowd(fixed, there, b, lv)
            after = 2 + _crowd(fixed, there, b, lu) + _crowd(fixed, there, a, lv)
            if after >= before or not can_swap(fixed, plan, u, k, v, m):
                continue
            swap(fixed, plan, u, k, v, m)
            if value(fixed, plan) <= limit:
                _mark(fixed, there, a, lu, -1)
                _mark(fixed, there, b, lu, 1)
                _mark(fixed, there, b, lv, -1)
                _mark(fixed, there, a, lv, 1)
                return True
            swap(fixed, plan, u, k, v, m)
    return False
