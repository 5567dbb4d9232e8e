"""Which folded forms were found faithful to their detailed ones, found once for each of a tile.

Whether a matrix may be folded depends on what was written, on the converters' range and on the
whole tile: clipping, gains and offsets are not in its cells. A study opens one kind of chip after
another and writes the same weights by the same act into each, so what is known belongs to a tile.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cimsim.config import Tile
from cimsim.mac import AdcRange
from cimsim.mac.writing import Writing

__all__ = ["Verdicts", "Written"]

Written = tuple[Writing, AdcRange, int, float]
"""Act of writing, range, and sums of integers and scales: calibration may write other weights."""


@dataclass(frozen=True)
class Verdicts:
    """Verdicts by tile; tiles are told apart as objects, which is how a chip keeps its own."""

    _of: list[tuple[Tile, dict[Written, bool]]] = field(default_factory=list, repr=False)

    def of(self, tile: Tile) -> dict[Written, bool]:
        """Return what is known of matrices on a tile; what is put into it is known from then on."""
        for known, verdicts in self._of:
            if known is tile:
                return verdicts
        self._of.append((tile, {}))
        return self._of[-1][1]
