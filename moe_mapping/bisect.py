"""Kernighan-Lin exchange of copies between two halves of a chip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moe_mapping.feasibility import can_swap
from moe_mapping.kernel import inner, kernel
from moe_mapping.state import Fixed, WorkingPlan

__all__ = ["exchange_halves"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_PASSES = 8


@inner
def _gains(
    fixed: Fixed, plan: WorkingPlan, side_of_site: Ints, copy_unit: Ints, copy_side: Ints
) -> Floats:
    """Return traffic to the other half minus traffic to the own half of every copy."""
    units = fixed.need.size
    here = np.zeros((units, 2))  # share of every unit's copies in each half
    for unit in range(units):
        for k in range(plan.copies[unit]):
            side = side_of_site[plan.site[unit, k]]
            if side >= 0:
                here[unit, side] += 1.0 / plan.copies[unit]
    gain = np.zeros(copy_unit.size)
    for c in range(copy_unit.size):
        unit = copy_unit[c]
        for pair in range(fixed.traffic_start[unit], fixed.traffic_start[unit + 1]):
            other = fixed.traffic_unit[pair]
            flow = fixed.traffic_bytes[pair] / plan.copies[unit]
            lean = here[other, 1 - copy_side[c]] - here[other, copy_side[c]]
            gain[c] += flow * lean
    return gain


@inner
def _between(fixed: Fixed, plan: WorkingPlan, u: int, v: int) -> float:
    """Return the traffic between one copy of u and one copy of v."""
    low, high = fixed.traffic_start[u], fixed.traffic_start[u + 1]
    at = low + np.searchsorted(fixed.traffic_unit[low:high], v)
    if at < high and fixed.traffic_unit[at] == v:
        return float(fixed.traffic_bytes[at] / (plan.copies[u] * plan.copies[v]))
    return 0.0


@inner
def _best_pair(
    gain: Floats,
    side: Ints,
    locked: Ints,
    unit: Ints,
    kind: Ints,
    share: Floats,
    low: float,
    high: float,
) -> tuple[int, int]:
    """Return the unlocked pair of one kind with the largest sum of gains that fits the load.

    `low` and `high` limit the load that may leave the near half in this exchange.
    """
    best, a, b = -np.inf, -1, -1
    order = np.argsort(-gain, kind="mergesort")
    near = order[(side[order] == 0) & (locked[order] == 0)]
    far = order[(side[order] == 1) & (locked[order] == 0)]
    if far.size == 0:
        return a, b
    for c in near:
        if gain[c] + gain[far[0]] <= best:
            break  # gains fall from here on
        for d in far:
            if gain[c] + gain[d] <= best:
                break
            if kind[c] != kind[d] or unit[c] == unit[d]:
                continue
            if low <= share[c] - share[d] <= high:
                best, a, b = gain[c] + gain[d], c, d
                break
    return a, b


@inner
def _pass(
    fixed: Fixed, plan: WorkingPlan, side_of_site: Ints, unit: Ints, copy: Ints, slack: float
) -> bool:
    """Make one pass: exchange greedily, keep the best prefix; return whether it helped."""
    n = unit.size
    site = np.array([plan.site[unit[c], copy[c]] for c in range(n)])
    side = side_of_site[site]
    share = np.array([fixed.time_ps[unit[c]] / plan.copies[unit[c]] for c in range(n)])
    kind = np.array([fixed.unit_class[unit[c]] * (1 << 40) + fixed.need[unit[c]] for c in range(n)])
    gain = _gains(fixed, plan, side_of_site, unit, side)
    locked = np.zeros(n, dtype=np.int64)
    limit = slack * share.sum()
    moved, saved, best, keep = 0.0, 0.0, 1e-12, 0
    steps = min((side == 0).sum(), (side == 1).sum())
    swaps = np.empty((steps, 2), dtype=np.int64)
    for step in range(steps):
        a, b = _best_pair(gain, side, locked, unit, kind, share, moved - limit, moved + limit)
        if a < 0:
            break
        saved += gain[a] + gain[b] - 2.0 * _between(fixed, plan, unit[a], unit[b])
        moved -= share[a] - share[b]
        locked[a] = locked[b] = 1
        swaps[step, 0], swaps[step, 1] = a, b
        for c in range(n):
            sign = 2.0 if side[c] == 0 else -2.0
            gain[c] += sign * _between(fixed, plan, unit[c], unit[a])
            gain[c] -= sign * _between(fixed, plan, unit[c], unit[b])
        if saved > best:
            best, keep = saved, step + 1
        if step - keep > 50:
            break
    for i in range(keep):
        a, b = swaps[i]
        if can_swap(fixed, plan, unit[a], copy[a], unit[b], copy[b]):  # no twins on a tile
            plan.site[unit[a], copy[a]], plan.site[unit[b], copy[b]] = site[b], site[a]
    return keep > 0


@kernel
def exchange_halves(fixed: Fixed, plan: WorkingPlan, side_of_site: Ints, slack: float) -> None:
    """Exchange copies between halves while the traffic that crosses falls.

    Args:
        fixed: the problem.
        plan: its sites change; the caller rebuilds it afterwards.
        side_of_site: int64 [S], 0 or 1 for sites of the halves, -1 elsewhere.
        slack: share of the halves' load that may shift from one to the other.
    """
    found = 0
    unit = np.empty(plan.copies.sum(), dtype=np.int64)
    copy = np.empty_like(unit)
    for u in range(fixed.need.size):
        for k in range(plan.copies[u]):
            if side_of_site[plan.site[u, k]] >= 0:
                unit[found], copy[found] = u, k
                found += 1
    for _ in range(_PASSES):
        if not _pass(fixed, plan, side_of_site, unit[:found], copy[:found], slack):
            return
