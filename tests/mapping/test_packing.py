"""Copies are packed as by looking at every site for each of them, in less time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numba import njit

from moe_mapping import MappingProblem, Weights, no_traffic
from moe_mapping.layout import OPEN, _tile_chain
from moe_mapping.packing import pack_in_turn, replica_counts
from moe_mapping.plan import allow_twins, arrays_of, copy_plan, empty_plan, widened
from moe_mapping.state import Fixed, WorkingPlan, drop, put, rebuild
from moe_mapping.testing import KINDS, generated_case


def packed_one_by_one(fixed: Fixed, counts: np.ndarray) -> list[list[int]] | None:
    """Sites of every unit: each copy looks at all sites; None where one finds no room."""
    parts = [
        fixed.site_tile[low:high].tolist()
        for low, high in zip(fixed.site_start[:-1], fixed.site_start[1:], strict=True)
    ]
    on_tile = np.bincount(fixed.site_tile, minlength=fixed.room.size)
    load, free, taken = np.zeros(fixed.room.size), fixed.room.copy(), set()
    found: list[list[int]] = [[] for _ in counts]
    order = np.repeat(np.arange(counts.size), counts)
    share = fixed.time_ps / counts
    for unit in order[np.argsort(-share[order], kind="stable")]:
        open_unit = fixed.unit_class[unit] == OPEN
        ranked = []
        for site, tiles in enumerate(parts):
            if fixed.site_class[site] != fixed.unit_class[unit]:
                continue
            near = [
                s for s in found[unit] if s == site or (not open_unit and {*parts[s]} & {*tiles})
            ]
            room = free[site] >= fixed.need[unit] if open_unit else site not in taken
            if room and len(near) < fixed.limits[1]:
                ranked.append((load[tiles].max(), sum(on_tile[tiles] - 1), site))
        if not ranked:
            return None
        site = min(ranked)[2]
        found[unit].append(site)
        load[parts[site]] += share[unit]
        if open_unit:
            free[site] -= fixed.need[unit]
        taken.add(site)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_copies_are_packed_as_one_by_one(kind: str) -> None:
    packed = 0
    for index in range(40):
        case, draw = generated_case(31, index, kind), np.random.default_rng(index)
        if index % 3 == 0:  # ties
            case = replace(case, time_ps=draw.integers(0, 3, case.n_units) * 1e6)
        fixed = arrays_of(case)
        if index % 4 == 0:
            fixed = allow_twins(fixed, 2)
        for wanted in (np.ones(case.n_units, dtype=np.int64), replica_counts(fixed, fill=True)):
            counts = np.minimum(wanted, empty_plan(fixed).site.shape[1])
            slow = packed_one_by_one(fixed, counts)
            if slow is None:
                continue
            plan = pack_in_turn(fixed, counts, np.zeros(counts.size))
            assert plan is not None
            assert [row[:n].tolist() for row, n in zip(plan.site, plan.copies, strict=True)] == slow
            packed += 1
    assert packed > 30


@njit
def _one_more(fixed: Fixed, plan: WorkingPlan, unit: int, site: int) -> None:
    put(fixed, plan, unit, site)


@njit
def _one_less(fixed: Fixed, plan: WorkingPlan, unit: int, k: int) -> None:
    drop(fixed, plan, unit, k)


def chain(hops: np.ndarray) -> list[int]:
    """Of the tiles left the nearest to the last one and then to the last eight, from tile 0 on."""
    found, left = [0], set(range(1, len(hops)))
    while left:
        near = {t: 8 * hops[found[-1], t] + sum(hops[s, t] for s in found[-8:]) for t in left}
        found.append(min(sorted(left), key=near.__getitem__))
        left.remove(found[-1])
    return found


@pytest.mark.parametrize("kind", [np.int16, np.int64])
@pytest.mark.parametrize(("width", "tiles"), [(1, 1), (3, 9), (7, 40), (5, 33)])
def test_tiles_in_a_row_are_neighbours(width: int, tiles: int, kind: type) -> None:
    x, y = np.divmod(np.random.default_rng(tiles).permutation(tiles), width)
    hops = np.abs(x[:, None] - x) + np.abs(y[:, None] - y)
    assert _tile_chain(hops.astype(kind)).tolist() == chain(hops)


@pytest.mark.parametrize("copies", [2, 59])
def test_tile_times_stay_those_of_the_copies_few_or_many_of_which_change(copies: int) -> None:
    """One copy more or less changes the share of all others, of a unit on nearly all tiles too."""
    tiles = 60
    problem = MappingProblem(
        units=("a", "b", "c"),
        layer=np.array([0, 1, 1]),
        crossbars=np.ones(3, dtype=np.int64),
        time_ps=np.array([6e6, 5e6, 7e6]),
        replicable=np.ones(3, dtype=np.bool_),
        traffic_bytes=no_traffic(3),
        capacity=np.full(tiles, 3),
        hops=np.zeros((tiles, tiles), dtype=np.int64),
        weights=Weights(layers=0.5),
    )
    fixed = arrays_of(problem)
    packed = pack_in_turn(fixed, np.array([60, copies, 60]), np.zeros(3))
    assert packed is not None
    plan = widened(fixed, packed)
    free = (set(range(tiles)) - set(plan.site[1, :copies].tolist())).pop()
    _one_more(fixed, plan, 1, free)
    assert plan.tree[1] == pytest.approx(6e6 / 60 + 5e6 / (copies + 1) + 7e6 / 60)
    _one_less(fixed, plan, 0, 7)
    again = copy_plan(plan)
    rebuild(fixed, again)
    np.testing.assert_allclose(plan.tree, again.tree)
    np.testing.assert_allclose(plan.layers, again.layers)
    np.testing.assert_allclose(plan.totals, again.totals)
