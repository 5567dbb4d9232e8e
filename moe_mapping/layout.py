"""Sites: where a copy of a unit can sit.

The first T sites are the tiles themselves, for units that fit into one tile (*open*
units, any size, as long as there is room). Units that need several tiles (*wide* units)
have sites of their own: fixed runs of neighbouring tiles carved out once, one class a
size, with spare sites for replicas. So every policy only chooses sites, and a plan that
fits on paper also fits on crossbars.

Where open units leave gaps that make the chip too small, every size gets carved sites,
packed without gaps: that always fits, since a copy may cross from one tile to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimInternalError
from moe_mapping.kernel import kernel
from moe_mapping.problem import MappingProblem

__all__ = ["OPEN", "Layout", "carve", "first_fit"]

Ints = NDArray[np.int64]
OPEN = -1
_Site = tuple[tuple[int, int], ...]
_NEIGHBOURS = 8


@dataclass(frozen=True)
class Layout:
    """Sites of a problem.

    Attributes:
        unit_class: [U], class of wide units, OPEN for the others.
        parts: parts[s] = ((tile, crossbars), ...) of wide site s (numbered from T).
        site_class: [wide sites].
        room: [T], crossbars left for open units.
    """

    unit_class: Ints
    parts: tuple[_Site, ...]
    site_class: Ints
    room: Ints


def carve(problem: MappingProblem) -> Layout:
    """Choose the wide sites of a problem; deterministic.

    Whole tiles for every wide site if they suffice, else runs without gaps, else runs
    without gaps for every unit.
    """
    sizes, inverse = np.unique(problem.crossbars, return_inverse=True)
    wide = sizes > problem.capacity.max()
    if problem.current is not None:
        for unit, copies in enumerate(problem.current.copies):
            wide[inverse[unit]] |= any(len(copy) > 1 for copy in copies)
    for whole_tiles in (True, False):
        layout = _try_carve(problem, inverse, wide, whole_tiles=whole_tiles)
        if layout is not None:
            return layout
    layout = _try_carve(problem, inverse, np.ones_like(wide), whole_tiles=False)
    if layout is None:
        message = "runs of crossbars without gaps did not hold what the chip holds"
        raise CimsimInternalError(message)
    return layout


def _try_carve(
    problem: MappingProblem,
    size_of: Ints,
    wide: NDArray[np.bool_],
    *,
    whole_tiles: bool,
) -> Layout | None:
    """Return a layout whose wide sizes have carved sites, or None if something is left out."""
    class_of_size = np.where(wide, np.cumsum(wide) - 1, OPEN)
    unit_class = class_of_size[size_of].astype(np.int64)
    room = problem.capacity.copy()
    order = _tile_chain(problem.hops) if wide.any() else np.arange(problem.n_tiles)
    parts: list[_Site] = []
    classes: list[int] = []
    wanted = _wanted_sites(problem, unit_class)
    if problem.current is not None:
        for unit, copies in enumerate(problem.current.copies):
            if unit_class[unit] == OPEN:
                continue
            for copy in copies:
                parts.append(copy)
                classes.append(int(unit_class[unit]))
                for tile, crossbars in copy:
                    room[tile] -= crossbars
                if unit_class[unit] in wanted:
                    wanted.remove(int(unit_class[unit]))
    size_of_class = {int(unit_class[u]): int(problem.crossbars[u]) for u in range(problem.n_units)}
    base = len(np.flatnonzero(unit_class != OPEN))
    for kind in wanted:
        site = _take(room, order, size_of_class[kind], problem.capacity if whole_tiles else None)
        if site is None:
            if len(parts) >= base and not whole_tiles:
                break
            return None
        parts.append(site)
        classes.append(kind)
    needs = problem.crossbars[unit_class == OPEN]
    if needs.size and first_fit(np.sort(needs)[::-1], room).min() < 0:
        return None
    return Layout(unit_class, tuple(parts), np.array(classes, dtype=np.int64), room)


def _wanted_sites(problem: MappingProblem, unit_class: Ints) -> list[int]:
    """Return classes of wide sites in carving order: layer by layer, spares spread evenly."""
    units = np.flatnonzero(unit_class != OPEN)
    units = units[np.argsort(problem.layer[units], kind="stable")]
    base = [int(unit_class[u]) for u in units]
    replicable = problem.crossbars * problem.replicable
    spare: list[int] = []
    for kind in range(int(unit_class.max()) + 1):
        mine = unit_class == kind
        if replicable[mine].sum() == 0:
            continue
        part = problem.budget * int(replicable[mine].sum()) // int(replicable.sum())
        spare += [kind] * (part // int(problem.crossbars[mine][0]))
    positions = [(i + 1.0, 0, kind) for i, kind in enumerate(base)]
    step = len(base) / (len(spare) + 1)
    positions += [((i + 1) * step, 1, kind) for i, kind in enumerate(spare)]
    return [kind for _, _, kind in sorted(positions)]


def _take(room: Ints, order: Ints, need: int, whole: Ints | None) -> _Site | None:
    """Take crossbars from the next tiles in `order`, only untouched tiles if `whole`."""
    free = room > 0 if whole is None else (room == whole) & (room > 0)
    tiles = order[free[order]]
    filled = np.cumsum(room[tiles])
    last = int(np.searchsorted(filled, need))
    if last >= len(tiles):
        return None
    site = []
    for tile in tiles[: last + 1].tolist():
        part = min(need, int(room[tile]))
        need -= part
        room[tile] -= part
        site.append((tile, part))
    return tuple(sorted(site))


@kernel
def _tile_chain(hops: NDArray[np.signedinteger]) -> Ints:
    """Return tiles in an order where neighbours on the list are neighbours on the chip."""
    n_tiles = hops.shape[0]
    order = np.zeros(n_tiles, dtype=np.int64)
    score = np.zeros(n_tiles, dtype=np.int64)
    left = np.arange(n_tiles)  # in rising order: the first of equals is taken
    for i in range(1, n_tiles):
        last = order[i - 1]
        at = np.searchsorted(left[: n_tiles - i + 1], last)
        for k in range(at, n_tiles - i):
            left[k] = left[k + 1]
        # Next to the last tile first, then near to the last few: compact runs.
        best, least = -1, np.int64(0)
        for k in range(n_tiles - i):
            tile = left[k]
            score[tile] += np.int64(hops[last, tile])
            if i > _NEIGHBOURS:
                score[tile] -= np.int64(hops[order[i - 1 - _NEIGHBOURS], tile])
            rank = np.int64(hops[last, tile]) * _NEIGHBOURS + score[tile]
            if best < 0 or rank < least:
                best, least = tile, rank
        order[i] = best
    return order


@kernel
def first_fit(needs: Ints, room: Ints) -> Ints:
    """Return the first tile with room for each need in the order given, -1 if none.

    Args:
        needs: int64 [n], crossbars.
        room: int64 [T], free crossbars (not changed).
    """
    free = room.copy()
    tiles = np.full(needs.size, -1)
    start = 0
    for i in range(needs.size):
        if i > 0 and needs[i] != needs[i - 1]:
            start = 0
        for tile in range(start, free.size):
            if free[tile] >= needs[i]:
                free[tile] -= needs[i]
                tiles[i] = tile
                start = tile  # equal needs never fit an earlier tile
                break
    return tiles
