"""From a problem to arrays that compiled policies work on, and back to an assignment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from moe_mapping.assignment import Assignment
from moe_mapping.kernel import kernel
from moe_mapping.layout import OPEN, Layout, carve
from moe_mapping.objective import scale_of
from moe_mapping.problem import MappingProblem
from moe_mapping.state import Fixed, WorkingPlan, rebuild

__all__ = [
    "MAX_HOP_SITES",
    "allow_twins",
    "arrays_of",
    "assignment_of",
    "copy_plan",
    "empty_plan",
    "most_copies",
    "plan_of",
    "widened",
]

Ints = NDArray[np.int64]

MAX_HOP_SITES = 6000
"""Above this many sites a search ignores hop-bytes (their table would not fit in memory);
the objective still reports them."""

_MAX_COPY_TABLE = 20_000_000


def allow_twins(fixed: Fixed, same_tile: int) -> Fixed:
    """Return the same problem where that many copies of a unit may share a tile."""
    return fixed._replace(limits=np.array([fixed.limits[0], same_tile], dtype=np.int64))


def arrays_of(problem: MappingProblem) -> Fixed:
    """Return the arrays of a problem that policies work on; made once a solution."""
    layout = carve(problem)
    start, tile, crossbars, fraction, site_class = _sites(problem, layout)
    sites = site_class.size
    traffic = problem.traffic_bytes
    price = scale_of(problem)
    hops = np.zeros((0, 0))
    if traffic.nnz and sites <= MAX_HOP_SITES:
        row = np.repeat(np.arange(sites), np.diff(start))
        share = sparse.csr_array((fraction, (row, tile)), shape=(sites, problem.n_tiles))
        hops = np.ascontiguousarray((share @ (share @ problem.hops).T).T, dtype=np.float64)
    else:
        price = price._replace(per_hop_byte=0.0)
    classes = np.argsort(site_class, kind="stable")
    classes = classes[np.count_nonzero(site_class == OPEN) :].astype(np.int64)
    n_classes = int(layout.unit_class.max()) + 1
    class_start = np.searchsorted(site_class[classes], np.arange(n_classes + 1))
    held_start, held_tile, held_crossbars = _held(problem)
    return Fixed(
        time_ps=problem.time_ps.copy(),
        layer=np.unique(problem.layer, return_inverse=True)[1].astype(np.int64),
        need=problem.crossbars.copy(),
        replicable=problem.replicable.copy(),
        unit_class=layout.unit_class,
        site_start=start,
        site_tile=tile,
        site_crossbars=crossbars,
        site_fraction=fraction,
        site_class=site_class,
        class_start=class_start.astype(np.int64),
        class_site=classes,
        room=layout.room,
        traffic_start=traffic.indptr.astype(np.int64),
        traffic_unit=traffic.indices.astype(np.int64),
        traffic_bytes=traffic.data.astype(np.float64),
        site_hops=hops,
        held_start=held_start,
        held_tile=held_tile,
        held_crossbars=held_crossbars,
        price=np.array(price),
        limits=np.array([problem.budget, 1], dtype=np.int64),
    )


def _sites(
    problem: MappingProblem, layout: Layout
) -> tuple[Ints, Ints, Ints, NDArray[np.float64], Ints]:
    """Return the site table; tiles are sites only if some unit fits into one."""
    tiles = problem.n_tiles if bool((layout.unit_class == OPEN).any()) else 0
    lengths = [1] * tiles + [len(parts) for parts in layout.parts]
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tile = np.array([*range(tiles), *(t for s in layout.parts for t, _ in s)], dtype=np.int64)
    crossbars = np.array([0] * tiles + [x for s in layout.parts for _, x in s], dtype=np.int64)
    sizes = [sum(x for _, x in s) for s in layout.parts]
    fraction = np.array(
        [1.0] * tiles + [x / sizes[i] for i, s in enumerate(layout.parts) for _, x in s]
    )
    site_class = np.concatenate([np.full(tiles, OPEN), layout.site_class]).astype(np.int64)
    return start, tile, crossbars, fraction, site_class


def _held(problem: MappingProblem) -> tuple[Ints, Ints, Ints]:
    if problem.current is None:
        empty = np.zeros(0, dtype=np.int64)
        return np.zeros(problem.n_units + 1, dtype=np.int64), empty, empty
    held = problem.current.held()
    start = np.concatenate([[0], np.cumsum([len(h) for h in held])]).astype(np.int64)
    tile = np.array([t for h in held for t in h], dtype=np.int64)
    crossbars = np.array([x for h in held for x in h.values()], dtype=np.int64)
    return start, tile, crossbars


@kernel
def _site_table(units: int, most: int) -> Ints:
    """Return a table [units, most] in which nothing is written yet.

    NumPy would ask for huge pages, and the first copy of every unit would then clear it all.
    """
    return np.empty((units, most), dtype=np.int64)


def most_copies(fixed: Fixed) -> int:
    """Return how many copies of a unit a plan has room for, which no budget exceeds."""
    units, sites = fixed.need.size, fixed.site_class.size
    smallest = int(fixed.need[fixed.replicable].min()) if fixed.replicable.any() else 1
    most = 1 + (int(fixed.limits[0]) // smallest if fixed.replicable.any() else 0)
    return max(1, min(most, sites * int(fixed.limits[1]), _MAX_COPY_TABLE // units))


def empty_plan(fixed: Fixed, most: int | None = None) -> WorkingPlan:
    """Return a plan with no unit placed.

    Args:
        fixed: the problem.
        most: copies of a unit that there is room for; None for `most_copies`.
    """
    units, sites, tiles = fixed.need.size, fixed.site_class.size, fixed.room.size
    leaves = 1
    while leaves < tiles:
        leaves *= 2
    layers = int(fixed.layer.max()) + 1 if fixed.price[4] > 0.0 else 0
    # What lies behind a unit's copies is never read. The table for every copy that the budget
    # allows takes up to 160 megabytes.
    site = _site_table(units, most or most_copies(fixed))
    site[:, 0] = -1
    return WorkingPlan(
        copies=np.zeros(units, dtype=np.int64),
        site=site,
        free=fixed.room.copy(),
        taken=np.zeros(sites, dtype=np.int64),
        tree=np.zeros(2 * leaves),
        layers=np.zeros((layers, 2 * leaves)),
        totals=np.zeros(4),
    )


def copy_plan(plan: WorkingPlan) -> WorkingPlan:
    """Return an independent copy."""
    return _with_room(plan, plan.site.shape[1])


def widened(fixed: Fixed, plan: WorkingPlan) -> WorkingPlan:
    """Return an independent copy with room for `most_copies`."""
    return _with_room(plan, most_copies(fixed))


def _with_room(plan: WorkingPlan, most: int) -> WorkingPlan:
    used = max(1, int(plan.copies.max()))
    site = _site_table(plan.copies.size, most)
    site[:, :used] = plan.site[:, :used]
    rest = {name: getattr(plan, name).copy() for name in plan._fields if name != "site"}
    return WorkingPlan(site=site, **rest)


def assignment_of(fixed: Fixed, plan: WorkingPlan) -> Assignment:
    """Return the assignment that a complete plan stands for."""
    start, tile, crossbars = fixed.site_start, fixed.site_tile, fixed.site_crossbars
    copies = []
    for unit in range(plan.copies.size):
        need = int(fixed.need[unit])
        mine = []
        for site in plan.site[unit, : plan.copies[unit]].tolist():
            parts = range(int(start[site]), int(start[site + 1]))
            mine.append(tuple((int(tile[p]), int(crossbars[p]) or need) for p in parts))
        copies.append(tuple(mine))
    return Assignment(tuple(copies))


def plan_of(fixed: Fixed, assignment: Assignment) -> WorkingPlan | None:
    """Return the plan of an assignment, or None if a copy sits on no site of the layout."""
    plan = empty_plan(fixed)
    known: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for site in range(fixed.site_class.size):
        if fixed.site_class[site] != OPEN:
            parts = range(int(fixed.site_start[site]), int(fixed.site_start[site + 1]))
            key = tuple((int(fixed.site_tile[p]), int(fixed.site_crossbars[p])) for p in parts)
            known.setdefault(key, []).append(site)
    for unit, copies in enumerate(assignment.copies):
        if len(copies) > plan.site.shape[1]:
            return None
        for k, copy in enumerate(copies):
            if fixed.unit_class[unit] == OPEN:
                if len(copy) > 1:
                    return None
                plan.site[unit, k] = copy[0][0]
            else:
                sites = known.get(copy, [])
                if not sites:
                    return None
                plan.site[unit, k] = sites.pop(0)
        plan.copies[unit] = len(copies)
    rebuild(fixed, plan)
    return plan
