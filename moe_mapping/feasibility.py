"""Where one more copy may go: room on a site, copies of the same unit, the replica budget."""

from __future__ import annotations

from moe_mapping.kernel import inner
from moe_mapping.state import REPLICAS, Fixed, WorkingPlan

__all__ = ["can_put", "can_swap", "copies_near", "fits_site"]


@inner
def copies_near(fixed: Fixed, plan: WorkingPlan, unit: int, site: int, but: int) -> int:
    """Count the copies of a unit, copy `but` aside, that share a tile with a site."""
    found = 0
    for k in range(plan.copies[unit]):
        other = plan.site[unit, k]
        if k == but:
            continue
        if other == site:
            found += 1
        elif fixed.site_class[site] >= 0:
            for a in range(fixed.site_start[site], fixed.site_start[site + 1]):
                hit = False
                for b in range(fixed.site_start[other], fixed.site_start[other + 1]):
                    hit = hit or fixed.site_tile[a] == fixed.site_tile[b]
                if hit:
                    found += 1
                    break
    return found


@inner
def fits_site(fixed: Fixed, plan: WorkingPlan, unit: int, site: int) -> bool:
    """Tell whether a site is of the unit's class and free."""
    if fixed.site_class[site] != fixed.unit_class[unit]:
        return False
    if fixed.site_class[site] < 0:
        return bool(plan.free[site] >= fixed.need[unit])
    return bool(plan.taken[site] == 0)


@inner
def can_put(fixed: Fixed, plan: WorkingPlan, unit: int, site: int) -> bool:
    """Tell whether one more copy of a unit may go to a site."""
    copies = plan.copies[unit]
    if copies >= 1:
        if not fixed.replicable[unit] or copies >= plan.site.shape[1]:
            return False
        if plan.totals[REPLICAS] + fixed.need[unit] > fixed.limits[0]:
            return False
    if not fits_site(fixed, plan, unit, site):
        return False
    return bool(copies_near(fixed, plan, unit, site, -1) < fixed.limits[1])


@inner
def can_swap(fixed: Fixed, plan: WorkingPlan, u: int, k: int, v: int, m: int) -> bool:
    """Tell whether copy k of u and copy m of v may change places."""
    a, b = plan.site[u, k], plan.site[v, m]
    if u == v or a == b or fixed.unit_class[u] != fixed.unit_class[v]:
        return False
    if fixed.unit_class[u] < 0:
        more = fixed.need[u] - fixed.need[v]
        if plan.free[b] < more or plan.free[a] < -more:
            return False
    return bool(
        copies_near(fixed, plan, u, b, k) < fixed.limits[1]
        and copies_near(fixed, plan, v, a, m) < fixed.limits[1]
    )
