"""Simulated annealing of a whole plan on the shared objective.

Moves change places of two copies or send one to a free site; the change of hop-bytes is
summed over the neighbours of the moved units, the slowest tile comes from the tournament
tree, so that the time term acts as the load limit. Kirkpatrick, Gelatt, Vecchi (Science
220, 1983) with geometric cooling; the number of moves is fixed, never the time.
"""

from __future__ import annotations

import numpy as np

from cimsim.elementary_arrays import exp_number, log_number
from moe_mapping.draws import below, uniform
from moe_mapping.feasibility import copies_near
from moe_mapping.kernel import inlined, inner, kernel
from moe_mapping.state import (
    Fixed,
    Floats,
    Ints,
    WorkingPlan,
    keep_sites,
    rebuild,
    rewritten,
    value,
)
from moe_mapping.tournament import add_layer_time, add_site_time

__all__ = ["anneal"]

_CHECKS = 64
_SAMPLE = 2000
_MOST_DENSE = 512
_BOILING = 1e30


@inlined
def _hop_change(
    start: Ints,
    units: Ints,
    amounts: Floats,
    hops: Floats,
    count: Ints,
    sites: Ints,
    unit: int,
    old: int,
    new: int,
    partner: int,
    partner_copy: int,
) -> float:
    """Return the change of hop-bytes when a copy of `unit` goes from site old to new.

    The copy it changes places with is left out: their distance stays the same.
    """
    total = 0.0
    for pair in range(start[unit], start[unit + 1]):
        other = units[pair]
        copies = count[other]
        if copies == 1 and other != partner:
            at = sites[other, 0]
            total += amounts[pair] * (hops[new, at] - hops[old, at])
        else:
            change = 0.0
            for k in range(copies):
                if other != partner or k != partner_copy:
                    at = sites[other, k]
                    change += hops[new, at] - hops[old, at]
            total += amounts[pair] * change / copies
    return float(total / count[unit])


@inlined
def _swap_change(
    dense: Floats, hops: Floats, sites: Ints, u: int, v: int, old: int, new: int
) -> float:
    """Return the change of hop-bytes when the only copies of u and v change places."""
    total = 0.0
    for other in range(dense.shape[0]):
        at = sites[other, 0]
        if other not in (u, v):
            total += (dense[u, other] - dense[v, other]) * (hops[new, at] - hops[old, at])
    return total


@inlined
def _exchange_layers(
    start: Ints,
    tile: Ints,
    layers: Floats,
    first: int,
    mine: float,
    second: int,
    other: float,
    old: int,
    new: int,
) -> float:
    """Move times of two layers between sites; return how the sum of slowest tiles changes.

    Args:
        start: where a site's parts start.
        tile: tiles of the parts.
        layers: tournament of every layer.
        first: layer of the copy that goes from old to new.
        mine: its time.
        second: layer of the copy that comes back.
        other: its time, 0 where none does.
        old: site.
        new: site.
    """
    change = add_layer_time(start, tile, layers, first, old, -mine)
    change += add_layer_time(start, tile, layers, first, new, mine)
    if other > 0.0:
        change += add_layer_time(start, tile, layers, second, new, -other)
        change += add_layer_time(start, tile, layers, second, old, other)
    return float(change)


@inner
def _dense_traffic(fixed: Fixed, plan: WorkingPlan) -> Floats:
    """Return the traffic as a full matrix where that is the faster way, else [0, 0]."""
    units, pairs = fixed.need.size, fixed.traffic_unit.size
    if units > _MOST_DENSE or 4 * pairs < units * units or plan.copies.max() > 1:
        return np.zeros((0, 0))
    dense = np.zeros((units, units))
    for u in range(units):
        for pair in range(fixed.traffic_start[u], fixed.traffic_start[u + 1]):
            dense[u, fixed.traffic_unit[pair]] = fixed.traffic_bytes[pair]
    return dense


# Long: one hot loop, in which a call costs more than a move.
@inner
def _walk(  # noqa: PLR0912, PLR0915
    fixed: Fixed,
    plan: WorkingPlan,
    dense: Floats,
    seed: int,
    draw: int,
    moves: int,
    temperature: float,
) -> tuple[float, int]:
    """Propose moves at one temperature; return (sum of |change|, proposals that fitted)."""
    # Every field is read once: see `add_site_time`.
    time_ps, need, kind = fixed.time_ps, fixed.need, fixed.unit_class
    site_start, site_tile = fixed.site_start, fixed.site_tile
    class_start, class_site = fixed.class_start, fixed.class_site
    traffic_start, traffic_unit = fixed.traffic_start, fixed.traffic_unit
    traffic_bytes, site_hops = fixed.traffic_bytes, fixed.site_hops
    count, sites, free, taken, tree = plan.copies, plan.site, plan.free, plan.taken, plan.tree
    layer, layers = fixed.layer, plan.layers
    per_ps, per_hop_byte, per_cell = fixed.price[0], fixed.price[1], fixed.price[3]
    per_layer_ps = fixed.price[4]
    units, tiles, most_near = need.size, free.size, fixed.limits[1]
    # Free sites are worth trying in proportion to their number, but not more than that.
    moving = 0.3 if free.sum() + class_site.size > taken.sum() else 0.0
    total, fitted = 0.0, 0
    for i in range(moves):
        at = draw + 6 * i
        u = below(seed, at, units)
        k = below(seed, at + 1, count[u])
        old = sites[u, k]
        v, m = -1, -1
        if uniform(seed, at + 2) < moving:
            if kind[u] < 0:
                new = below(seed, at + 3, tiles)
                if new == old or free[new] < need[u]:
                    continue
            else:
                first = class_start[kind[u]]
                new = class_site[first + below(seed, at + 3, class_start[kind[u] + 1] - first)]
                if taken[new] != 0:
                    continue
        else:
            v = below(seed, at + 3, units)
            m = below(seed, at + 4, count[v])
            new = sites[v, m]
            if u == v or old == new or kind[u] != kind[v]:
                continue
            more = need[u] - need[v]
            if kind[u] < 0 and (free[new] < more or free[old] < -more):
                continue
            if count[v] > 1 and copies_near(fixed, plan, v, old, m) >= most_near:
                continue
        if count[u] > 1 and copies_near(fixed, plan, u, new, k) >= most_near:
            continue
        hops, cells = 0.0, 0
        if per_hop_byte != 0.0 and v >= 0 and dense.size > 0:
            hops = _swap_change(dense, site_hops, sites, u, v, old, new)
        elif per_hop_byte != 0.0:
            hops = _hop_change(
                traffic_start, traffic_unit, traffic_bytes, site_hops, count, sites,
                u, old, new, v, m,
            )  # fmt: skip
            if v >= 0:
                hops += _hop_change(
                    traffic_start, traffic_unit, traffic_bytes, site_hops, count, sites,
                    v, new, old, u, k,
                )  # fmt: skip
        if per_cell != 0.0:
            cells = rewritten(fixed, u, new) - rewritten(fixed, u, old)
            if v >= 0:
                cells += rewritten(fixed, v, old) - rewritten(fixed, v, new)
        before = tree[1]
        moved_time = time_ps[u] / count[u]
        if v >= 0:
            moved_time -= time_ps[v] / count[v]
        add_site_time(site_start, site_tile, tree, old, -moved_time)
        add_site_time(site_start, site_tile, tree, new, moved_time)
        change = per_ps * (tree[1] - before) + per_hop_byte * hops + per_cell * cells
        if per_layer_ps != 0.0:
            mine = time_ps[u] / count[u]
            other = time_ps[v] / count[v] if v >= 0 else 0.0
            serial = _exchange_layers(
                site_start, site_tile, layers, layer[u], mine, layer[v], other, old, new
            )
            change += per_layer_ps * serial
        total += abs(change)
        fitted += 1
        if change > 0.0 and uniform(seed, at + 5) >= exp_number(-change / temperature):
            add_site_time(site_start, site_tile, tree, new, -moved_time)
            add_site_time(site_start, site_tile, tree, old, moved_time)
            if per_layer_ps != 0.0:
                _exchange_layers(
                    site_start, site_tile, layers, layer[u], mine, layer[v], other, new, old
                )
            continue
        moved_need = need[u] - (need[v] if v >= 0 else 0)
        if kind[u] < 0:
            free[old] += moved_need
            free[new] -= moved_need
        elif v < 0:
            taken[old], taken[new] = 0, 1
        sites[u, k] = new
        if v >= 0:
            sites[v, m] = old
    return total, fitted


@kernel
def anneal(
    fixed: Fixed, plan: WorkingPlan, moves: int, heat: float, cool: float, seed: int
) -> None:
    """Anneal a plan in place; the best plan seen at a check is kept, the start included.

    Args:
        fixed: the problem.
        plan: a complete plan; the number of copies does not change.
        moves: proposals.
        heat: first temperature in units of the mean change of a random move.
        cool: last temperature in the same unit.
        seed: of the proposals.
    """
    rebuild(fixed, plan)
    best = value(fixed, plan)
    copies, site = plan.copies, np.empty_like(plan.site)
    keep_sites(copies, plan.site, site)
    dense = _dense_traffic(fixed, plan)
    total, fitted = _walk(fixed, plan, dense, seed, 0, _SAMPLE, _BOILING)
    keep_sites(copies, site, plan.site)
    rebuild(fixed, plan)
    if fitted == 0 or total == 0.0:
        return
    temperature = heat * total / fitted
    factor = exp_number(log_number(cool / heat) / (_CHECKS - 1))
    step = max(1, moves // _CHECKS)
    draw = 6 * _SAMPLE
    for _ in range(_CHECKS):
        _walk(fixed, plan, dense, seed, draw, step, temperature)
        rebuild(fixed, plan)  # rounding of many moves goes, totals come back
        if value(fixed, plan) < best - 1e-12:
            best = value(fixed, plan)
            keep_sites(copies, plan.site, site)
        draw += 6 * step
        temperature *= factor
    keep_sites(copies, site, plan.site)
    rebuild(fixed, plan)
