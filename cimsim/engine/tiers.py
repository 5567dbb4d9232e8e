"""Tiers of tiles: which of them a site is on, tile by tile.

A tile reads one of its tiers at a time. A site is on one tier of a tile wherever its crossbars
there fit on one; where they do not, a visit goes through its tiers there in turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import crossbar_numbers, tier_numbers
from cimsim.config import Tile

__all__ = ["most_tiers", "tiers_by_tile"]

Int64 = NDArray[np.int64]


def tiers_by_tile(crossbars: Sequence[int], tile: Tile) -> tuple[Int64, Int64]:
    """Return of every tile of a site, rising, the lowest tier that it is on and how many.

    Args:
        crossbars: of the site.
        tile: the tile that repeats.
    """
    tiles = crossbar_numbers(crossbars) // tile.stacked_crossbars
    pairs = np.unique(tiles * tile.tiers + tier_numbers(crossbars, tile))
    _, first, count = np.unique(pairs // tile.tiers, return_index=True, return_counts=True)
    return pairs[first] % tile.tiers, count.astype(np.int64)


def most_tiers(crossbars: Sequence[int], tile: Tile) -> int:
    """Return how many tiers of one tile a site is on at most."""
    return 1 if tile.tiers == 1 else int(tiers_by_tile(crossbars, tile)[1].max())
