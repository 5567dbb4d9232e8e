"""Links between the chips of a system, and the way from one chip to another.

*mesh*: chips in rows and columns, as square as their number allows; columns first, then rows.
*ring*: the shorter way round, upwards where both are equally long. *full*: a link between
every two chips. The next chip of a way depends only on where one is and where one goes, so
ways from one chip to several form a tree, and so do ways from several chips to one.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
from numpy.typing import NDArray

__all__ = ["chip_grid", "chip_links", "next_chips"]

Int64 = NDArray[np.int64]


def chip_grid(chips: int) -> tuple[int, int]:
    """Return columns and rows of a mesh of chips: no row is partly filled."""
    rows = isqrt(chips)
    while chips % rows:
        rows -= 1
    return chips // rows, rows


def next_chips(topology: str, chips: int) -> Int64:
    """Return the next chip on the way from every chip to every other, [chips, chips].

    Args:
        topology: mesh, ring or full.
        chips: how many.
    """
    here, there = np.divmod(np.arange(chips * chips, dtype=np.int64), chips)
    if topology == "mesh":
        columns, _ = chip_grid(chips)
        dx, dy = there % columns - here % columns, there // columns - here // columns
        step = np.where(dx != 0, np.sign(dx), columns * np.sign(dy))
        after = here + step
    elif topology == "ring":
        ahead = (there - here) % chips
        step = np.where(ahead == 0, 0, np.where(2 * ahead <= chips, 1, -1))
        after = (here + step) % chips
    else:
        after = there
    table: Int64 = after.reshape(chips, chips)
    return table


def chip_links(topology: str, chips: int) -> list[tuple[int, int]]:
    """Return the (sender, receiver) pairs of the links, in rising order."""
    after = next_chips(topology, chips)
    pairs = {(a, int(b)) for a in range(chips) for b in after[a] if int(b) != a}
    return sorted(pairs)
