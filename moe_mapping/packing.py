"""Packing copies onto sites: longest first, each to the least loaded site with room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimInternalError
from moe_mapping.feasibility import can_put, copies_near, fits_site
from moe_mapping.kernel import inner, kernel
from moe_mapping.layout import OPEN, first_fit
from moe_mapping.plan import empty_plan, most_copies
from moe_mapping.state import Fixed, WorkingPlan, put, rebuild, tile_time

__all__ = [
    "least_loaded",
    "pack",
    "pack_in_turn",
    "place_one_each",
    "replica_counts",
    "site_time",
    "sites_of",
]

Ints = NDArray[np.int64]
_MOST_RETRIES = 20


@kernel
def sites_of(fixed: Fixed, unit: int) -> Ints:
    """Return all sites of a unit's class."""
    kind = fixed.unit_class[unit]
    if kind < 0:
        return np.arange(fixed.room.size)
    return fixed.class_site[fixed.class_start[kind] : fixed.class_start[kind + 1]]


@inner
def site_time(fixed: Fixed, plan: WorkingPlan, site: int) -> float:
    """Return the busy time of the slowest tile of a site."""
    slowest = 0.0
    for part in range(fixed.site_start[site], fixed.site_start[site + 1]):
        slowest = max(slowest, tile_time(plan, fixed.site_tile[part]))
    return slowest


@kernel
def replica_counts(fixed: Fixed, *, fill: bool) -> Ints:
    """Return copies of every unit: the next replica goes to the largest share, greedily.

    Args:
        fixed: the problem.
        fill: spend the whole budget; else stop when the largest share cannot be lowered.
    """
    units = fixed.need.size
    counts = np.ones(units, dtype=np.int64)
    share = fixed.time_ps.copy()
    left = fixed.limits[0]
    most = np.empty(units, dtype=np.int64)
    for unit in range(units):
        most[unit] = fixed.limits[1] * sites_of(fixed, unit).size if fixed.replicable[unit] else 1
    while True:
        top = 0.0
        best = -1
        for unit in range(units):
            if fixed.need[unit] > left or counts[unit] >= most[unit]:
                if not fill and share[unit] >= top:
                    top, best = share[unit], -1
            elif (best < 0 and fill) or share[unit] > top:
                top, best = share[unit], unit
        if best < 0:
            return counts
        counts[best] += 1
        left -= fixed.need[best]
        share[best] = fixed.time_ps[best] / counts[best]


@inner
def _sharing(fixed: Fixed) -> Ints:
    """Return how many other sites a copy on each site slows down: those on its tiles."""
    on_tile = np.zeros(fixed.room.size, dtype=np.int64)
    for part in range(fixed.site_tile.size):
        on_tile[fixed.site_tile[part]] += 1
    sharing = np.zeros(fixed.site_start.size - 1, dtype=np.int64)
    for site in range(sharing.size):
        for part in range(fixed.site_start[site], fixed.site_start[site + 1]):
            sharing[site] += on_tile[fixed.site_tile[part]] - 1
    return sharing


@inner
def _comes_first(slowest: NDArray[np.float64], sharing: Ints, one: int, other: int) -> bool:
    """Tell which of two sites takes a copy: the least loaded, of equals what shares least."""
    if slowest[one] != slowest[other]:
        return bool(slowest[one] < slowest[other])
    if sharing[one] != sharing[other]:
        return bool(sharing[one] < sharing[other])
    return one < other


@inner
def _sink(heap: Ints, size: int, at: int, slowest: NDArray[np.float64], sharing: Ints) -> None:
    """Restore a heap of sites, the first of all on top, of which one may come too early."""
    while True:
        child = 2 * at + 1
        if child >= size:
            return
        if child + 1 < size and _comes_first(slowest, sharing, heap[child + 1], heap[child]):
            child += 1
        if not _comes_first(slowest, sharing, heap[child], heap[at]):
            return
        heap[at], heap[child] = heap[child], heap[at]
        at = child


@inner
def _place_copies(
    fixed: Fixed,
    plan: WorkingPlan,
    load: NDArray[np.float64],
    sharing: Ints,
    unit: int,
    share: float,
    count: int,
) -> int:
    """Put each copy on the least loaded site with room, of equals on that shared the least.

    Sites wait in a heap. While copies of one unit are placed loads only rise and room only
    falls, so that what is known of a site is at most too good: it is looked at again on top.

    Returns:
        How many of `count` copies found a site.
    """
    slowest = np.empty(sharing.size)
    heap, size = np.empty(sharing.size, dtype=np.int64), 0
    for site in sites_of(fixed, unit):
        if fits_site(fixed, plan, unit, site):
            slowest[site] = _site_load(fixed, load, site)
            heap[size] = site
            size += 1
    for at in range(size // 2 - 1, -1, -1):
        _sink(heap, size, at, slowest, sharing)
    placed = 0
    while placed < count and size > 0:
        site = heap[0]
        if not fits_site(fixed, plan, unit, site) or (
            plan.copies[unit] >= fixed.limits[1]
            and copies_near(fixed, plan, unit, site, -1) >= fixed.limits[1]
        ):
            size -= 1
            heap[0] = heap[size]
        elif _site_load(fixed, load, site) > slowest[site]:
            slowest[site] = _site_load(fixed, load, site)
        else:
            _take(fixed, plan, load, unit, site, share)
            placed += 1
            continue
        _sink(heap, size, 0, slowest, sharing)
    return placed


@inner
def _site_load(fixed: Fixed, load: NDArray[np.float64], site: int) -> float:
    """Return the load of the slowest tile of a site."""
    slowest = 0.0
    for part in range(fixed.site_start[site], fixed.site_start[site + 1]):
        slowest = max(slowest, load[fixed.site_tile[part]])
    return slowest


@inner
def _take(
    fixed: Fixed, plan: WorkingPlan, load: NDArray[np.float64], unit: int, site: int, share: float
) -> None:
    plan.site[unit, plan.copies[unit]] = site
    plan.copies[unit] += 1
    if fixed.site_class[site] < 0:
        plan.free[site] -= fixed.need[unit]
    else:
        plan.taken[site] = 1
    for part in range(fixed.site_start[site], fixed.site_start[site + 1]):
        load[fixed.site_tile[part]] += share


@inner
def _make_room(
    fixed: Fixed,
    plan: WorkingPlan,
    load: NDArray[np.float64],
    counts: Ints,
    unit: int,
) -> bool:
    """Place a copy where only sites beside its twins have room: another copy steps aside."""
    for gap in sites_of(fixed, unit):
        if not fits_site(fixed, plan, unit, gap):
            continue
        for other in range(fixed.need.size):
            if other == unit or fixed.unit_class[other] != fixed.unit_class[unit]:
                continue
            if fixed.need[other] != fixed.need[unit]:
                continue
            for k in range(plan.copies[other]):
                site = plan.site[other, k]
                if copies_near(fixed, plan, unit, site, -1) >= fixed.limits[1]:
                    continue
                if copies_near(fixed, plan, other, gap, k) >= fixed.limits[1]:
                    continue
                share = fixed.time_ps[other] / counts[other]
                plan.site[other, k] = plan.site[other, plan.copies[other] - 1]
                plan.copies[other] -= 1
                if fixed.site_class[site] < 0:
                    plan.free[site] += fixed.need[other]
                else:
                    plan.taken[site] = 0
                for part in range(fixed.site_start[site], fixed.site_start[site + 1]):
                    load[fixed.site_tile[part]] -= share
                _take(fixed, plan, load, other, gap, share)
                _take(fixed, plan, load, unit, site, fixed.time_ps[unit] / counts[unit])
                return True
    return False


@kernel
def _pack_kernel(fixed: Fixed, plan: WorkingPlan, counts: Ints, order: Ints) -> int:
    """Pack copies in order; return a unit that is left without any copy, or -1."""
    load = np.zeros(fixed.room.size)
    sharing = _sharing(fixed)
    at = 0
    while at < order.size:
        unit, count = order[at], 1
        while at + count < order.size and order[at + count] == unit:
            count += 1
        at += count
        share = fixed.time_ps[unit] / counts[unit]
        while count > 0:
            count -= _place_copies(fixed, plan, load, sharing, unit, share, count)
            if count == 0 or not _make_room(fixed, plan, load, counts, unit):
                break  # where nothing moves aside, the copies that are left find no room either
            count -= 1
    left_out = -1
    for unit in range(counts.size):
        if plan.copies[unit] == 0:
            left_out = unit
            break
    rebuild(fixed, plan)
    return left_out


@inner
def least_loaded(fixed: Fixed, plan: WorkingPlan, unit: int) -> int:
    """Return the site on which one more copy of a unit waits least, -1 if it has none."""
    best, least = -1, np.inf
    for site in sites_of(fixed, unit):
        time = site_time(fixed, plan, site)
        if time < least and can_put(fixed, plan, unit, site):
            least, best = time, site
    return best


@kernel
def _add_copies(fixed: Fixed, plan: WorkingPlan, counts: Ints) -> None:
    """Add the copies that are missing to the least loaded sites with room."""
    for unit in range(counts.size):
        while plan.copies[unit] < counts[unit]:
            site = least_loaded(fixed, plan, unit)
            if site < 0:
                break
            put(fixed, plan, unit, site)


def pack(fixed: Fixed, counts: Ints) -> WorkingPlan:
    """Place the given copies longest share first; drop replicas for which no site is left.

    Graham's longest-processing-time rule (SIAM J. Appl. Math. 17, 1969) under room
    limits. A unit that finds no room because earlier ones left gaps goes first in another
    attempt; in the end units are packed largest first, which the layout has proven to fit.

    Args:
        fixed: the problem.
        counts: int64 [U], copies wanted.
    """
    plan = empty_plan(fixed)
    wanted, order = _in_turn(fixed, counts, np.zeros(counts.size))
    for _ in range(_MOST_RETRIES):
        left_out = _pack_kernel(fixed, plan, wanted, order)
        if left_out < 0:
            return plan
        plan = empty_plan(fixed)
        mine = order == left_out
        order = np.concatenate([order[mine], order[~mine]])
    plan = place_one_each(fixed, np.argsort(-fixed.time_ps, kind="stable"))
    _add_copies(fixed, plan, wanted)
    return plan


def pack_in_turn(fixed: Fixed, counts: Ints, rank: NDArray[np.float64]) -> WorkingPlan | None:
    """Place the given copies in order of rank, so that high ranks find room that is whole.

    Within a rank the longest share goes first, each to the least loaded site with room;
    replicas without a site are dropped.

    Args:
        fixed: the problem.
        counts: int64 [U], copies wanted.
        rank: [U], the highest goes first.

    Returns:
        The plan, or None if a unit is left without any copy. It has room for these copies and no
        others: `widened` gives it more.
    """
    wanted, order = _in_turn(fixed, counts, rank)
    plan = empty_plan(fixed, int(wanted.max()))
    return plan if _pack_kernel(fixed, plan, wanted, order) < 0 else None


def _in_turn(fixed: Fixed, counts: Ints, rank: NDArray[np.float64]) -> tuple[Ints, Ints]:
    """Return copies as far as a plan has room for them, and their units in order of rank."""
    wanted = np.minimum(counts, most_copies(fixed))
    unit_of_copy = np.repeat(np.arange(wanted.size), wanted)
    share = (fixed.time_ps / wanted)[unit_of_copy]
    return wanted, unit_of_copy[np.lexsort((-share, -rank[unit_of_copy]))]


def place_one_each(fixed: Fixed, order: Ints) -> WorkingPlan:
    """Place one copy of every unit, whatever gaps that takes: largest unit first.

    Args:
        fixed: the problem.
        order: int64 [U], which of equally large units goes first.
    """
    plan = empty_plan(fixed)
    by_need = order[np.argsort(-fixed.need[order], kind="stable")]
    if _pack_kernel(fixed, plan, np.ones_like(fixed.need), by_need) < 0:
        return plan
    plan = empty_plan(fixed)
    open_units = by_need[fixed.unit_class[by_need] == OPEN]
    plan.site[open_units, 0] = first_fit(fixed.need[open_units], fixed.room)
    for kind in range(fixed.class_start.size - 1):
        units = by_need[fixed.unit_class[by_need] == kind]
        start = int(fixed.class_start[kind])
        plan.site[units, 0] = fixed.class_site[start : start + units.size]
    if plan.site[:, 0].min() < 0:
        message = "the layout of a mapping does not hold its units"
        raise CimsimInternalError(message)
    plan.copies[:] = 1
    rebuild(fixed, plan)
    return plan
