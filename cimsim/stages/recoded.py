"""Other codes of the same model: every column has its own scale and is clipped for errors of cells.

What a chip's tools know before any chip is made. Digital scales by column stand where a scale of
the matrix stood before (`tile.weight.scale`); `cimsim.stages.recoding` makes the codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.mac import AdcRange
from cimsim.mac.clip import least_error_bounds
from cimsim.model import Checkpoint
from cimsim.model.changed_checkpoint import ChangedCheckpoint, changed
from cimsim.workload.matrix import NO_EXPERT, PART_OF_ROLE, MatrixId

__all__ = ["Recoded", "Recodes", "clipped_columns"]


@dataclass(frozen=True)
class _ClippedColumns(ChangedCheckpoint):
    """A checkpoint whose columns are clipped when they are asked for.

    Attributes:
        error_lsb: what a stored weight is off by.
        bits: of a stored weight.
    """

    error_lsb: float = field(kw_only=True)
    bits: int = field(kw_only=True)

    def parameter(self, layer: int, role: str, expert: int = NO_EXPERT) -> NDArray[np.float32]:
        """Return a digital parameter, or a matrix [n_out, n_in], its columns clipped."""
        if role not in PART_OF_ROLE:
            return self.plain.parameter(layer, role, expert)
        weight = self.plain.matrix(MatrixId(layer, role, expert))
        bounds = least_error_bounds(weight, self.error_lsb, self.bits)
        return np.clip(weight, -bounds, bounds).T


def clipped_columns(checkpoint: Checkpoint, error_lsb: float, bits: int) -> Checkpoint:
    """Return a model as its columns are stored; arguments are those of `least_error_bounds`."""
    values = changed(checkpoint, f"clipped {error_lsb!r} {bits}")
    return _ClippedColumns(**values, error_lsb=error_lsb, bits=bits)


class Recoded(NamedTuple):
    """How a model is written.

    Attributes:
        tile: the tile, with a scale for each column.
        checkpoint: what is stored.
        ranges: converter ranges of the new codes.
    """

    tile: Tile
    checkpoint: Checkpoint
    ranges: Mapping[MatrixId, AdcRange]


class Recodes(Protocol):
    """Codes that all chips of a kind can be written in."""

    @property
    def possible(self) -> bool:
        """Whether a weight has more than a sign, and its cells a value that errs."""
        ...

    def for_error(self, error_lsb: float) -> Recoded:
        """Return the codes for weights that are off by some LSB when they are stored."""
        ...
