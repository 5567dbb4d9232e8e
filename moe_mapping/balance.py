"""Local search on the slowest tile: swap, move and replicate until nothing helps.

Every step looks at the copies on the slowest tile only, since no other move can lower
the maximum, and takes the best of a neighbourhood: first swaps and moves, then changes of
the number of copies. Where nothing helps, a few random swaps and a new descent follow;
the best plan wins. Work is bounded by counts, never by a clock.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from moe_mapping.draws import below
from moe_mapping.packing import site_time, sites_of
from moe_mapping.state import (
    Fixed,
    Plan,
    can_put,
    can_swap,
    copies_near,
    drop,
    has_room,
    peak,
    put,
    rebuild,
    shift,
    swap,
    value,
)

__all__ = ["fill_spare", "lower_peak", "prune"]

Ints = NDArray[np.int64]
_TINY = 1.0 - 1e-12


@njit(cache=True)
def _slowest_tile(plan: Plan) -> int:
    tree = plan.tree
    leaves = tree.size // 2
    node = 1
    while node < leaves:
        node = 2 * node if tree[2 * node] == tree[node] else 2 * node + 1
    return node - leaves


@njit(cache=True)
def _holds(fixed: Fixed, site: int, tile: int) -> bool:
    for part in range(fixed.site_start[site], fixed.site_start[site + 1]):
        if fixed.site_tile[part] == tile:
            return True
    return False


@njit(cache=True)
def _copies_on(fixed: Fixed, plan: Plan, tile: int) -> tuple[Ints, Ints]:
    """Return (units, copy numbers) that have a part on a tile."""
    units = np.empty(64, dtype=np.int64)
    copies = np.empty(64, dtype=np.int64)
    found = 0
    for unit in range(fixed.need.size):
        for k in range(plan.copies[unit]):
            if _holds(fixed, plan.site[unit, k], tile):
                if found == units.size:
                    units = np.append(units, np.empty_like(units))
                    copies = np.append(copies, np.empty_like(copies))
                units[found], copies[found] = unit, k
                found += 1
    return units[:found], copies[:found]


@njit(cache=True)
def _best_exchange(
    fixed: Fixed, plan: Plan, units: Ints, copies: Ints
) -> tuple[float, int, int, int, int]:
    """Return (peak, u, k, v or -1, copy of v or free site) of the best swap or move."""
    best = peak(plan) * _TINY
    top = peak(plan)
    choice = (-1, -1, -1, -1)
    for i in range(units.size):
        u, k = units[i], copies[i]
        here = plan.site[u, k]
        a = fixed.time_ps[u] / plan.copies[u]
        for site in sites_of(fixed, u):
            time = max(top - a, site_time(fixed, plan, site) + a)
            if time < best and site != here and has_room(fixed, plan, u, site):
                if copies_near(fixed, plan, u, site, k) < fixed.limits[1]:
                    best, choice = time, (u, k, -1, site)
        for v in range(fixed.need.size):
            if fixed.unit_class[v] != fixed.unit_class[u]:
                continue
            b = fixed.time_ps[v] / plan.copies[v]
            if b >= a or top - a + b >= best:
                continue
            for m in range(plan.copies[v]):
                there = plan.site[v, m]
                time = max(top - a + b, site_time(fixed, plan, there) - b + a)
                if time < best and can_swap(fixed, plan, u, k, v, m):
                    best, choice = time, (u, k, v, m)
    return best, choice[0], choice[1], choice[2], choice[3]


@njit(cache=True)
def _others_after(fixed: Fixed, plan: Plan, v: int, m: int) -> float:
    """Return the time of the slowest tile of v's copies once copy m is gone."""
    more = fixed.time_ps[v] / (plan.copies[v] - 1) - fixed.time_ps[v] / plan.copies[v]
    slowest = 0.0
    for k in range(plan.copies[v]):
        if k != m:
            slowest = max(slowest, site_time(fixed, plan, plan.site[v, k]) + more)
    return slowest


@njit(cache=True)
def _can_replace(fixed: Fixed, plan: Plan, v: int, m: int, u: int) -> bool:
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


@njit(cache=True)
def _best_replica(
    fixed: Fixed, plan: Plan, units: Ints, copies: Ints
) -> tuple[float, int, int, int]:
    """Return (peak, u, v or -1, copy of v or free site): one more copy of u.

    Either a copy of a unit on the slowest tile goes to a free site or in place of
    another replica, or a replica on the slowest tile gives way to a colder unit.
    """
    top = peak(plan)
    best = top * _TINY
    choice = (-1, -1, -1)
    for i in range(units.size):
        u = units[i]
        if not fixed.replicable[u]:
            continue
        a = fixed.time_ps[u] / plan.copies[u]
        share = fixed.time_ps[u] / (plan.copies[u] + 1)
        for site in sites_of(fixed, u):
            time = max(top - a + share, site_time(fixed, plan, site) + share)
            if time < best and can_put(fixed, plan, u, site):
                best, choice = time, (u, -1, site)
        if top - a + share >= best:
            continue
        for v in range(fixed.need.size):
            if plan.copies[v] < 2 or fixed.unit_class[v] != fixed.unit_class[u]:
                continue
            b = fixed.time_ps[v] / plan.copies[v]
            for m in range(plan.copies[v]):
                there = site_time(fixed, plan, plan.site[v, m])
                time = max(top - a + share, there - b + share)
                if time < best and _can_replace(fixed, plan, v, m, u):
                    time = max(time, _others_after(fixed, plan, v, m))
                    if time < best:
                        best, choice = time, (u, v, m)
    for i in range(units.size):
        v, m = units[i], copies[i]
        if plan.copies[v] < 2:
            continue
        b = fixed.time_ps[v] / plan.copies[v]
        after = max(top - b, _others_after(fixed, plan, v, m))
        if after >= best:
            continue
        for u in range(fixed.need.size):
            share = fixed.time_ps[u] / (plan.copies[u] + 1)
            time = max(after, top - b + share)
            if time < best and _can_replace(fixed, plan, v, m, u):
                best, choice = time, (u, v, m)
    return best, choice[0], choice[1], choice[2]


@njit(cache=True)
def _descend(fixed: Fixed, plan: Plan, target: float, steps: int) -> None:
    """Take the best step until none lowers the slowest tile."""
    for _ in range(steps):
        if peak(plan) <= target:
            return
        units, copies = _copies_on(fixed, plan, _slowest_tile(plan))
        _, u, k, v, m = _best_exchange(fixed, plan, units, copies)
        if u >= 0:
            if v >= 0:
                swap(fixed, plan, u, k, v, m)
            else:
                shift(fixed, plan, u, k, m)
            continue
        _, u, v, m = _best_replica(fixed, plan, units, copies)
        if u < 0:
            return
        site = m
        if v >= 0:
            site = plan.site[v, m]
            drop(fixed, plan, v, m)
        put(fixed, plan, u, site)


@njit(cache=True)
def _kick(fixed: Fixed, plan: Plan, seed: int, draw: int, swaps: int) -> int:
    """Swap random copies; return the next draw."""
    units = fixed.need.size
    done = 0
    for _ in range(20 * swaps):
        u, v = below(seed, draw, units), below(seed, draw + 1, units)
        k, m = below(seed, draw + 2, plan.copies[u]), below(seed, draw + 3, plan.copies[v])
        draw += 4
        if can_swap(fixed, plan, u, k, v, m):
            swap(fixed, plan, u, k, v, m)
            done += 1
            if done == swaps:
                break
    return draw


@njit(cache=True)
def lower_peak(fixed: Fixed, plan: Plan, target: float, steps: int, kicks: int, seed: int) -> None:
    """Lower the slowest tile's time by iterated local search; the plan never gets slower.

    Args:
        fixed: the problem.
        plan: changed in place.
        target: stop at this time (a bound, or near enough to one).
        steps: most steps of one descent.
        kicks: restarts from the best plan after a few random swaps.
        seed: of the kicks.
    """
    _descend(fixed, plan, target, steps)
    rebuild(fixed, plan)
    best = peak(plan)
    count, site = plan.copies.copy(), plan.site.copy()
    draw = 0
    for kick in range(kicks):
        if best <= target:
            break
        draw = _kick(fixed, plan, seed, draw, 1 + kick % 3)
        _descend(fixed, plan, target, steps)
        if peak(plan) < best * _TINY:
            rebuild(fixed, plan)
            best = peak(plan)
            count[:], site[:] = plan.copies, plan.site
        else:
            plan.copies[:], plan.site[:] = count, site
            rebuild(fixed, plan)


@njit(cache=True)
def prune(fixed: Fixed, plan: Plan) -> None:
    """Remove replicas that are not worth their crossbars, until none is left.

    The weighted objective decides: time, hop-bytes and rewriting against crossbars.
    """
    changed = True
    while changed:
        changed = False
        for unit in range(fixed.need.size):
            k = 0
            while k < plan.copies[unit] and plan.copies[unit] > 1:
                before = value(fixed, plan)
                site = plan.site[unit, k]
                drop(fixed, plan, unit, k)
                if value(fixed, plan) <= before - 1e-12:
                    changed = True
                else:
                    put(fixed, plan, unit, site)
                    k += 1
    rebuild(fixed, plan)


@njit(cache=True)
def fill_spare(fixed: Fixed, plan: Plan) -> None:
    """Use up the replica budget: every free site gets the replica that hurts least."""
    while True:
        best, best_u, best_site = np.inf, -1, -1
        for u in range(fixed.need.size):
            if not fixed.replicable[u]:
                continue
            share = fixed.time_ps[u] / (plan.copies[u] + 1)
            for site in sites_of(fixed, u):
                time = site_time(fixed, plan, site) + share
                if time < best and can_put(fixed, plan, u, site):
                    best, best_u, best_site = time, u, site
        if best_u < 0:
            return
        put(fixed, plan, best_u, best_site)
