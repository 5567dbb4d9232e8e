"""An assignment: on which crossbars of which tiles the copies of every unit sit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Assignment", "Copy", "Part"]

Part = tuple[int, int]
"""(tile, crossbars) of a copy."""

Copy = tuple[Part, ...]
"""All parts of one copy, tiles rising."""


@dataclass(frozen=True)
class Assignment:
    """Copies of every unit, in the order of the problem's units.

    Hashable and canonical: copies are sorted, and parts of a copy have rising tiles, so
    that equal placements compare equal.

    Attributes:
        copies: copies[unit][replica] = ((tile, crossbars), ...).
    """

    copies: tuple[tuple[Copy, ...], ...]

    def __post_init__(self) -> None:
        canonical = tuple(
            tuple(sorted(tuple(sorted((int(t), int(x)) for t, x in copy)) for copy in unit))
            for unit in self.copies
        )
        object.__setattr__(self, "copies", canonical)

    def used(self, n_tiles: int) -> NDArray[np.int64]:
        """Return crossbars in use on every tile, [T]."""
        used = np.zeros(n_tiles, dtype=np.int64)
        for copies in self.copies:
            for copy in copies:
                for tile, crossbars in copy:
                    used[tile] += crossbars
        return used

    def counts(self) -> NDArray[np.int64]:
        """Return the number of copies of every unit, [U]."""
        return np.array([len(copies) for copies in self.copies], dtype=np.int64)

    def reorder(self, order: NDArray[np.int64]) -> Assignment:
        """Return the assignment of the same units listed in another order."""
        return Assignment(tuple(self.copies[i] for i in order))

    def held(self) -> tuple[dict[int, int], ...]:
        """Return, for every unit, the crossbars it holds on each tile."""
        found: list[dict[int, int]] = []
        for copies in self.copies:
            tiles: dict[int, int] = {}
            for copy in copies:
                for tile, crossbars in copy:
                    tiles[tile] = tiles.get(tile, 0) + crossbars
            found.append(tiles)
        return tuple(found)

    def rewritten(self, current: Assignment) -> int:
        """Return the crossbars that must be programmed to get here from `current`."""
        total = 0
        for new, old in zip(self.held(), current.held(), strict=True):
            total += sum(max(0, crossbars - old.get(tile, 0)) for tile, crossbars in new.items())
        return total

    def written(self, current: Assignment) -> tuple[int, ...]:
        """Return the unit of every copy of `self` that has a crossbar to be programmed."""
        units = []
        for unit, (new, old) in enumerate(zip(self.copies, current.held(), strict=True)):
            left = dict(old)
            for copy in new:
                if any(left.get(tile, 0) < crossbars for tile, crossbars in copy):
                    units.append(unit)
                for tile, crossbars in copy:
                    left[tile] = left.get(tile, 0) - crossbars
        return tuple(units)

    def moves(self, current: Assignment) -> int:
        """Return the copies of `self` that have a crossbar to be programmed."""
        return len(self.written(current))
