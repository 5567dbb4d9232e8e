"""A plan in work: copies on sites, and the objective's parts, kept up to date move by move.

`Fixed` holds what never changes, `WorkingPlan` what a move changes; both are bundles of arrays,
so that compiled policies can share the moves below. Tile times sit in the leaves of a
tournament tree whose root is the slowest tile, and so do the times of every layer alone: a
move costs O(log tiles).
`moe_mapping.objective` is the slow twin.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from moe_mapping.kernel import inner, kernel
from moe_mapping.tournament import add_layer_time, add_site_time, add_sites_time, play

__all__ = [
    "HOPS",
    "REPLICAS",
    "REWRITTEN",
    "SERIAL",
    "Fixed",
    "WorkingPlan",
    "drop",
    "hop_bytes_of",
    "keep_sites",
    "peak",
    "put",
    "rebuild",
    "rewritten",
    "shift",
    "swap",
    "tile_time",
    "value",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

HOPS, REPLICAS, REWRITTEN, SERIAL = 0, 1, 2, 3
_CLIMB = 8  # nodes that a change of a leaf takes: of more sites, playing all again costs less


class Fixed(NamedTuple):
    """What no move changes. U units, T tiles, S sites (the T tiles, then wide sites).

    Attributes:
        time_ps: [U].
        layer: int64 [U], layers numbered without gaps.
        need: int64 [U], crossbars of a copy.
        replicable: bool [U].
        unit_class: int64 [U], -1 for units that fit a tile.
        site_start: int64 [S + 1], where a site's parts start in the next three.
        site_tile: int64 [parts].
        site_crossbars: int64 [parts], 0 for tiles (they hold whatever the unit needs).
        site_fraction: [parts], share of a copy on this part.
        site_class: int64 [S], -1 for tiles.
        class_start: int64 [classes + 1], where the sites of a class start.
        class_site: int64 [wide sites].
        room: int64 [T], crossbars for open units.
        traffic_start: int64 [U + 1], CSR of the traffic between units.
        traffic_unit: int64 [pairs].
        traffic_bytes: [pairs].
        site_hops: [S, S], mean hops between two sites; [0, 0] without traffic.
        held_start: int64 [U + 1], crossbars held in the current assignment.
        held_tile: int64 [held].
        held_crossbars: int64 [held].
        price: [5], of a ps, a hop-byte, a replica's crossbar, a rewritten crossbar, a ps of
            a layer.
        limits: int64 [2], crossbars for replicas, copies of one unit on one tile.
    """

    time_ps: Floats
    layer: Ints
    need: Ints
    replicable: NDArray[np.bool_]
    unit_class: Ints
    site_start: Ints
    site_tile: Ints
    site_crossbars: Ints
    site_fraction: Floats
    site_class: Ints
    class_start: Ints
    class_site: Ints
    room: Ints
    traffic_start: Ints
    traffic_unit: Ints
    traffic_bytes: Floats
    site_hops: Floats
    held_start: Ints
    held_tile: Ints
    held_crossbars: Ints
    price: Floats
    limits: Ints


class WorkingPlan(NamedTuple):
    """What a move changes.

    Attributes:
        copies: int64 [U], copies of every unit.
        site: int64 [U, K], their sites in the first `copies` columns; what is behind means nothing.
        free: int64 [T], crossbars left for open units.
        taken: int64 [S], 1 where a wide site is occupied.
        tree: [2 P], tournament of tile times: root at 1, tile t at P + t.
        layers: [L, 2 P], the same for every layer alone; [0, 2 P] where layers cost nothing.
        totals: [4], hop-bytes, replicas' crossbars, rewritten crossbars, sum over layers of
            the slowest tile.
    """

    copies: Ints
    site: Ints
    free: Ints
    taken: Ints
    tree: Floats
    layers: Floats
    totals: Floats


@kernel
def peak(plan: WorkingPlan) -> float:
    """Return the busy time of the slowest tile."""
    return float(plan.tree[1])


@inner
def tile_time(plan: WorkingPlan, tile: int) -> float:
    """Return the busy time of a tile."""
    return float(plan.tree[plan.tree.size // 2 + tile])


@kernel
def value(fixed: Fixed, plan: WorkingPlan) -> float:
    """Return the objective."""
    price, totals = fixed.price, plan.totals
    return float(
        price[0] * plan.tree[1]
        + price[1] * totals[HOPS]
        + price[2] * totals[REPLICAS]
        + price[3] * totals[REWRITTEN]
        + price[4] * totals[SERIAL]
    )


@inner
def _add_time(fixed: Fixed, plan: WorkingPlan, unit: int, site: int, time: float) -> None:
    start, tile = fixed.site_start, fixed.site_tile
    add_site_time(start, tile, plan.tree, site, time)
    if plan.layers.shape[0] > 0:
        layer = fixed.layer[unit]
        plan.totals[SERIAL] += add_layer_time(start, tile, plan.layers, layer, site, time)


@inner
def _copy_hop_bytes(fixed: Fixed, plan: WorkingPlan, unit: int, site: int) -> float:
    """Return hop-bytes between the load of a whole unit, put on one site, and all others."""
    total = 0.0
    for pair in range(fixed.traffic_start[unit], fixed.traffic_start[unit + 1]):
        other = fixed.traffic_unit[pair]
        copies = plan.copies[other]
        if copies == 1:
            total += fixed.traffic_bytes[pair] * fixed.site_hops[site, plan.site[other, 0]]
        elif copies > 1:
            hops = 0.0
            for k in range(copies):
                hops += fixed.site_hops[site, plan.site[other, k]]
            total += fixed.traffic_bytes[pair] * hops / copies
    return total


@inner
def hop_bytes_of(fixed: Fixed, plan: WorkingPlan, unit: int) -> float:
    """Return hop-bytes between a unit and all others that are placed."""
    if plan.copies[unit] == 0 or fixed.price[1] == 0.0:
        return 0.0
    total = 0.0
    for k in range(plan.copies[unit]):
        total += _copy_hop_bytes(fixed, plan, unit, plan.site[unit, k])
    return float(total / plan.copies[unit])


@kernel
def rewritten(fixed: Fixed, unit: int, site: int) -> int:
    """Return the crossbars of a site that do not hold this unit already."""
    if fixed.price[3] == 0.0:
        return 0
    total = 0
    for part in range(fixed.site_start[site], fixed.site_start[site + 1]):
        crossbars = fixed.site_crossbars[part]
        if crossbars == 0:
            crossbars = fixed.need[unit]
        for held in range(fixed.held_start[unit], fixed.held_start[unit + 1]):
            if fixed.held_tile[held] == fixed.site_tile[part]:
                crossbars -= fixed.held_crossbars[held]
        total += max(0, crossbars)
    return total


@inner
def _occupy(fixed: Fixed, plan: WorkingPlan, unit: int, site: int, sign: int) -> None:
    if fixed.site_class[site] < 0:
        plan.free[site] -= sign * fixed.need[unit]
    else:
        plan.taken[site] += sign


@inner
def _reshare(fixed: Fixed, plan: WorkingPlan, unit: int, before: int, after: int) -> None:
    """Give every copy in the list 1 / after of the load instead of 1 / before."""
    if before > 0 and after > 0:
        change = fixed.time_ps[unit] / after - fixed.time_ps[unit] / before
        sites = plan.site[unit, : min(before, after)]
        if sites.size * _CLIMB < plan.tree.size:
            for site in sites:
                _add_time(fixed, plan, unit, site, change)
            return
        start, tile = fixed.site_start, fixed.site_tile
        add_sites_time(start, tile, plan.tree, sites, change)
        if plan.layers.shape[0] > 0:
            tree = plan.layers[fixed.layer[unit]]
            slowest = tree[1]
            add_sites_time(start, tile, tree, sites, change)
            plan.totals[SERIAL] += tree[1] - slowest


@inner
def put(fixed: Fixed, plan: WorkingPlan, unit: int, site: int) -> None:
    """Add a copy of a unit; the caller has checked `can_put`."""
    copies = plan.copies[unit]
    plan.totals[HOPS] -= hop_bytes_of(fixed, plan, unit)
    _reshare(fixed, plan, unit, copies, copies + 1)
    plan.site[unit, copies] = site
    plan.copies[unit] = copies + 1
    _occupy(fixed, plan, unit, site, 1)
    _add_time(fixed, plan, unit, site, fixed.time_ps[unit] / (copies + 1))
    plan.totals[HOPS] += hop_bytes_of(fixed, plan, unit)
    if copies >= 1:
        plan.totals[REPLICAS] += fixed.need[unit]
    plan.totals[REWRITTEN] += rewritten(fixed, unit, site)


@inner
def drop(fixed: Fixed, plan: WorkingPlan, unit: int, k: int) -> None:
    """Remove copy k of a unit; the last copy takes its place in the list."""
    copies = plan.copies[unit]
    site = plan.site[unit, k]
    plan.totals[HOPS] -= hop_bytes_of(fixed, plan, unit)
    plan.site[unit, k] = plan.site[unit, copies - 1]
    plan.copies[unit] = copies - 1
    _occupy(fixed, plan, unit, site, -1)
    _add_time(fixed, plan, unit, site, -fixed.time_ps[unit] / copies)
    _reshare(fixed, plan, unit, copies, copies - 1)
    plan.totals[HOPS] += hop_bytes_of(fixed, plan, unit)
    if copies >= 2:
        plan.totals[REPLICAS] -= fixed.need[unit]
    plan.totals[REWRITTEN] -= rewritten(fixed, unit, site)


@inner
def shift(fixed: Fixed, plan: WorkingPlan, unit: int, k: int, site: int) -> None:
    """Move copy k of a unit to another site; room is the caller's business."""
    old = plan.site[unit, k]
    share = fixed.time_ps[unit] / plan.copies[unit]
    if fixed.price[1] != 0.0:
        before = _copy_hop_bytes(fixed, plan, unit, old)
        after = _copy_hop_bytes(fixed, plan, unit, site)
        plan.totals[HOPS] += (after - before) / plan.copies[unit]
    plan.site[unit, k] = site
    _occupy(fixed, plan, unit, old, -1)
    _occupy(fixed, plan, unit, site, 1)
    _add_time(fixed, plan, unit, old, -share)
    _add_time(fixed, plan, unit, site, share)
    plan.totals[REWRITTEN] += rewritten(fixed, unit, site) - rewritten(fixed, unit, old)


@inner
def swap(fixed: Fixed, plan: WorkingPlan, u: int, k: int, v: int, m: int) -> None:
    """Let copy k of u and copy m of v change places."""
    a, b = plan.site[u, k], plan.site[v, m]
    shift(fixed, plan, u, k, b)
    shift(fixed, plan, v, m, a)


@inner
def keep_sites(copies: Ints, sites: Ints, kept: Ints) -> None:
    """Copy the sites of every unit's copies, and no more of the table, into another table."""
    for unit in range(copies.size):
        for k in range(copies[unit]):
            kept[unit, k] = sites[unit, k]


@kernel
def rebuild(fixed: Fixed, plan: WorkingPlan) -> None:
    """Recompute room, times and totals from the copies: removes rounding of many moves."""
    tiles = fixed.room.size
    plan.free[:] = fixed.room
    plan.taken[:] = 0
    plan.tree[:] = 0.0
    plan.layers[:] = 0.0
    plan.totals[:] = 0.0
    leaves = plan.tree.size // 2
    for unit in range(plan.copies.size):
        for k in range(plan.copies[unit]):
            site = plan.site[unit, k]
            _occupy(fixed, plan, unit, site, 1)
            for part in range(fixed.site_start[site], fixed.site_start[site + 1]):
                share = fixed.time_ps[unit] / plan.copies[unit]
                plan.tree[leaves + fixed.site_tile[part]] += share
                if plan.layers.shape[0] > 0:
                    plan.layers[fixed.layer[unit], leaves + fixed.site_tile[part]] += share
            plan.totals[REWRITTEN] += rewritten(fixed, unit, site)
        plan.totals[REPLICAS] += max(0, plan.copies[unit] - 1) * fixed.need[unit]
        plan.totals[HOPS] += 0.5 * hop_bytes_of(fixed, plan, unit)
    plan.tree[leaves + tiles :] = 0.0
    play(plan.tree)
    for layer in range(plan.layers.shape[0]):
        play(plan.layers[layer])
        plan.totals[SERIAL] += plan.layers[layer, 1]
