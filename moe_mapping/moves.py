"""Steps that lower the slowest tile: exchange, move, replicate, replace.

Only copies on the slowest tile are looked at, since no other step can lower the maximum.
Each `best_*` function returns the best step of its kind that beats a limit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from moe_mapping.feasibility import can_put, can_swap, copies_near, fits_site
from moe_mapping.kernel import inner
from moe_mapping.packing import site_time, sites_of
from moe_mapping.state import Fixed, WorkingPlan, drop, peak, put

__all__ = [
    "CopyTable",
    "best_addition",
    "best_relief",
    "best_replacement",
    "best_shift",
    "best_swap",
    "can_replace",
    "empty_table",
    "fill_others",
    "fill_table",
    "may_shift",
    "replace_copy",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class CopyTable(NamedTuple):
    """Copies of a plan side by side, for the loops that look at all of them.

    A compiled loop over these arrays runs ten times as fast as one over `WorkingPlan`.

    Attributes:
        unit: int64 [C], whose copy.
        copy: int64 [C], its number.
        kind: int64 [C], class of the unit.
        share: [C], busy time of the copy.
        slowest: [C], time of the slowest tile of its site.
        others: [C], time of the slowest tile of the unit's other copies if this one goes.
        here: int64 [C], 1 if the copy has a part on the slowest tile of the chip.
        mark: int64 [T], copies on every tile of the unit that is being looked at.
    """

    unit: Ints
    copy: Ints
    kind: Ints
    share: Floats
    slowest: Floats
    others: Floats
    here: Ints
    mark: Ints


@inner
def empty_table(fixed: Fixed) -> CopyTable:
    """Return a table with room for all copies that the budget allows."""
    smallest = fixed.need[fixed.replicable].min() if fixed.replicable.any() else 1
    most = fixed.need.size + fixed.limits[0] // smallest
    ints = np.empty((4, most), dtype=np.int64)
    floats = np.empty((3, most))
    mark = np.zeros(fixed.room.size, dtype=np.int64)
    return CopyTable(ints[0], ints[1], ints[2], floats[0], floats[1], floats[2], ints[3], mark)


@inner
def fill_table(fixed: Fixed, plan: WorkingPlan, table: CopyTable, tile: int) -> int:
    """Write all copies into the table; return their number."""
    unit, copy, kind, share = table.unit, table.copy, table.kind, table.share
    slowest, here = table.slowest, table.here
    copies, sites, tree = plan.copies, plan.site, plan.tree
    start, tiles, time_ps, kinds = (
        fixed.site_start,
        fixed.site_tile,
        fixed.time_ps,
        fixed.unit_class,
    )
    leaves = tree.size // 2
    c = 0
    for u in range(copies.size):
        for k in range(copies[u]):
            unit[c], copy[c], kind[c] = u, k, kinds[u]
            share[c] = time_ps[u] / copies[u]
            here[c], slowest[c] = 0, 0.0
            site = sites[u, k]
            for part in range(start[site], start[site + 1]):
                slowest[c] = max(slowest[c], tree[leaves + tiles[part]])
                if tiles[part] == tile:
                    here[c] = 1
            c += 1
    return c


@inner
def best_swap(
    fixed: Fixed, plan: WorkingPlan, table: CopyTable, n: int, best: float
) -> tuple[float, int, int]:
    """Return (peak, row, row) of the swap that lowers the slowest tile most."""
    kind, share, slowest, here = table.kind, table.share, table.slowest, table.here
    unit, copy = table.unit, table.copy
    top = peak(plan)
    x, y = -1, -1
    for i in range(n):
        if not here[i]:
            continue
        a = share[i]
        for j in range(n):
            b = share[j]
            if top - a + b >= best or slowest[j] - b + a >= best or kind[i] != kind[j]:
                continue
            if can_swap(fixed, plan, unit[i], copy[i], unit[j], copy[j]):
                best, x, y = max(top - a + b, slowest[j] - b + a), i, j
    return best, x, y


@inner
def may_shift(fixed: Fixed, plan: WorkingPlan, u: int, k: int, site: int) -> bool:
    """Tell whether copy k of a unit may go to a site."""
    if plan.site[u, k] == site or not fits_site(fixed, plan, u, site):
        return False
    return bool(copies_near(fixed, plan, u, site, k) < fixed.limits[1])


@inner
def best_shift(
    fixed: Fixed, plan: WorkingPlan, table: CopyTable, n: int, best: float
) -> tuple[float, int, int]:
    """Return (peak, row, free site) of the move that lowers the slowest tile most."""
    top = peak(plan)
    x, to = -1, -1
    for i in range(n):
        if not table.here[i] or top - table.share[i] >= best:
            continue
        u, k, a = table.unit[i], table.copy[i], table.share[i]
        for site in sites_of(fixed, u):
            time = max(top - a, site_time(fixed, plan, site) + a)
            if time < best and may_shift(fixed, plan, u, k, site):
                best, x, to = time, i, site
    return best, x, to


@inner
def fill_others(fixed: Fixed, plan: WorkingPlan, table: CopyTable, n: int) -> None:
    """Write what the other copies of every replicated unit come to without each copy."""
    slowest, others, copies, time_ps = table.slowest, table.others, plan.copies, fixed.time_ps
    unit = table.unit
    c = 0
    while c < n:
        u = unit[c]
        high, second, end = -1.0, -1.0, c + copies[u]
        for i in range(c, end):
            if slowest[i] > high:
                high, second = slowest[i], high
            elif slowest[i] > second:
                second = slowest[i]
        more = 0.0
        if copies[u] > 1:
            more = time_ps[u] / (copies[u] - 1) - time_ps[u] / copies[u]
        for i in range(c, end):
            others[i] = (second if slowest[i] == high else high) + more
        c = end


@inner
def _mark(fixed: Fixed, plan: WorkingPlan, table: CopyTable, u: int, value: int) -> None:
    """Count (1) or forget (0) the copies of a unit on every tile."""
    for k in range(plan.copies[u]):
        site = plan.site[u, k]
        for part in range(fixed.site_start[site], fixed.site_start[site + 1]):
            at = fixed.site_tile[part]
            table.mark[at] = (table.mark[at] + 1) * value


@inner
def can_replace(fixed: Fixed, plan: WorkingPlan, v: int, m: int, u: int) -> bool:
    """Tell whether a new copy of u may take the place of copy m of v."""
    site = plan.site[v, m]
    if u == v or not fixed.replicable[u] or fixed.unit_class[u] != fixed.unit_class[v]:
        return False
    if plan.copies[u] >= plan.site.shape[1]:
        return False
    if fixed.unit_class[u] < 0 and plan.free[site] + fixed.need[v] < fixed.need[u]:
        return False
    if plan.totals[1] + fixed.need[u] - fixed.need[v] > fixed.limits[0]:
        return False
    return bool(copies_near(fixed, plan, u, site, -1) < fixed.limits[1])


@inner
def best_addition(
    fixed: Fixed, plan: WorkingPlan, table: CopyTable, n: int, best: float
) -> tuple[float, int, int]:
    """Return (peak, unit, free site): one more copy of a unit of the slowest tile."""
    top = peak(plan)
    x, to = -1, -1
    for i in range(n):
        u = table.unit[i]
        share = fixed.time_ps[u] / (plan.copies[u] + 1)
        if not table.here[i] or top - table.share[i] + share >= best:
            continue
        for site in sites_of(fixed, u):
            time = max(top - table.share[i] + share, site_time(fixed, plan, site) + share)
            if time < best and can_put(fixed, plan, u, site):
                best, x, to = time, u, site
    return best, x, to


@inner
def _best_victim(
    fixed: Fixed, plan: WorkingPlan, table: CopyTable, n: int, u: int, left: float, best: float
) -> tuple[float, int]:
    """Return (peak, row) of the replica whose place one more copy of u had best take.

    Args:
        fixed: the problem.
        plan: the plan.
        table: its copies.
        n: rows of the table.
        u: the unit that gets a copy.
        left: time of the slowest tile after that, the two tiles concerned aside.
        best: peak to beat.
    """
    kind, share, slowest, others = table.kind, table.share, table.slowest, table.others
    unit, mark, copies, need = table.unit, table.mark, plan.copies, fixed.need
    start, tiles, limit = fixed.site_start, fixed.site_tile, fixed.limits[1]
    new = fixed.time_ps[u] / (copies[u] + 1)
    row = -1
    _mark(fixed, plan, table, u, 1)
    for j in range(n):
        v = unit[j]
        if copies[v] < 2 or v == u or kind[j] != fixed.unit_class[u]:
            continue
        time = max(left, slowest[j] - share[j] + new, others[j])
        if time >= best:
            continue
        site = plan.site[v, table.copy[j]]
        if need[u] != need[v] and not can_replace(fixed, plan, v, table.copy[j], u):
            continue
        twins = 0
        for part in range(start[site], start[site + 1]):
            twins = max(twins, mark[tiles[part]])
        if twins < limit:
            best, row = time, j
    _mark(fixed, plan, table, u, 0)
    return best, row


@inner
def best_replacement(
    fixed: Fixed, plan: WorkingPlan, table: CopyTable, n: int, best: float
) -> tuple[float, int, int]:
    """Return (peak, unit, row): a copy of a unit of the slowest tile for another replica."""
    top = peak(plan)
    x, y = -1, -1
    for i in range(n):
        u = table.unit[i]
        left = top - table.share[i] + fixed.time_ps[u] / (plan.copies[u] + 1)
        if not table.here[i] or left >= best or not fixed.replicable[u]:
            continue
        if plan.copies[u] >= plan.site.shape[1]:
            continue
        time, row = _best_victim(fixed, plan, table, n, u, left, best)
        if row >= 0:
            best, x, y = time, u, row
    return best, x, y


@inner
def best_relief(
    fixed: Fixed, plan: WorkingPlan, table: CopyTable, n: int, best: float
) -> tuple[float, int, int]:
    """Return (peak, unit, row): a colder unit in place of a replica on the slowest tile."""
    copies, time_ps = plan.copies, fixed.time_ps
    top = peak(plan)
    x, y = -1, -1
    for j in range(n):
        if not table.here[j] or copies[table.unit[j]] < 2:
            continue
        after = max(top - table.share[j], table.others[j])
        if after >= best:
            continue
        for u in range(copies.size):
            time = max(after, top - table.share[j] + time_ps[u] / (copies[u] + 1))
            if time < best and can_replace(fixed, plan, table.unit[j], table.copy[j], u):
                best, x, y = time, u, j
    return best, x, y


@inner
def replace_copy(fixed: Fixed, plan: WorkingPlan, v: int, m: int, u: int) -> None:
    """Write a new copy of u over copy m of v."""
    site = plan.site[v, m]
    drop(fixed, plan, v, m)
    put(fixed, plan, u, site)
