"""Servers: PEs that always serve the same sites move in lockstep and are one.

A full-size chip has some hundred thousand PEs; nearly all of them serve one site, and only
those that several sites share are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import pe_numbers
from cimsim.config import ChipConfig

__all__ = ["Servers", "group_pes"]

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Servers:
    """Groups of PEs, numbered by their first PE; `x_ptr` arrays delimit the rows of others.

    Attributes:
        of_site_ptr, of_site: servers of every site, rising.
        tile_ptr, tile, pes: tiles of every server, rising, and its PEs there.
    """

    of_site_ptr: Int64
    of_site: Int64
    tile_ptr: Int64
    tile: Int64
    pes: Int64


def group_pes(seats: Sequence[Sequence[int]], config: ChipConfig) -> Servers:
    """Group PEs by the set of sites that use them.

    Args:
        seats: crossbars of every site.
        config: says how many crossbars a PE and how many PEs a tile has.
    """
    uses = [np.unique(pe_numbers(c, config.tile)) for c in seats]
    site = np.repeat(np.arange(len(seats)), [len(pes) for pes in uses])
    pe = np.concatenate([np.zeros(0, dtype=np.int64), *uses])
    order = np.lexsort((site, pe))
    site, pe = site[order], pe[order]
    used, first, count = np.unique(pe, return_index=True, return_counts=True)
    # A PE of one site is named by that site, a shared one by the first PE of the same sites.
    name = site[first]
    shared: dict[tuple[int, ...], int] = {}
    for i in np.flatnonzero(count > 1).tolist():
        sites = tuple(site[first[i] : first[i] + count[i]].tolist())
        name[i] = shared.setdefault(sites, len(seats) + len(shared))
    _, start, group = np.unique(name, return_index=True, return_inverse=True)
    server_of_group = np.empty(len(start), dtype=np.int64)
    server_of_group[np.argsort(start, kind="stable")] = np.arange(len(start))
    server = server_of_group[group]
    of_site, _ = _distinct(site, np.repeat(server, count))
    tiles, pes = _distinct(server, used // config.tile.pes)
    return Servers(
        of_site_ptr=_pointer(of_site[0], len(seats)),
        of_site=of_site[1],
        tile_ptr=_pointer(tiles[0], len(start)),
        tile=tiles[1],
        pes=pes,
    )


def _distinct(owner: Int64, item: Int64) -> tuple[tuple[Int64, Int64], Int64]:
    """Return every pair of owner and item once, by owner, and how often it occurs."""
    items = 1 + int(item.max(initial=0))
    keys, counts = np.unique(owner * items + item, return_counts=True)
    return (keys // items, keys % items), counts.astype(np.int64)


def _pointer(owner: Int64, owners: int) -> Int64:
    """Return where the rows of every owner begin, [owners + 1]."""
    return np.cumsum([0, *np.bincount(owner, minlength=owners)], dtype=np.int64)
