"""Exact column sums of planes: packed 16-bit products where the processor has them, else BLAS.

Both compute the same whole numbers, so results do not depend on which is used. BLAS packs the
whole matrix at every call: without 16-bit products one token alone costs four to five times its
share of a large batch (with them, no more than that share).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.mac.formats import RowGroup
from cimsim.mac.vnni import BLOCK, TILE, has_dot_product, multiply_packed, pack

__all__ = ["Products"]

Real = NDArray[np.float32] | NDArray[np.float64]
Planes = NDArray[np.int16] | Real

_WIDEST = 2**15 - 1


class Products:
    """A matrix of whole numbers, ready to be multiplied by planes group by group.

    Args:
        values: float [n_in, columns], whole numbers whose column sums are exact.
        groups: rows that are summed together.
        greatest_code: greatest absolute value of a plane.
    """

    def __init__(self, values: Real, groups: tuple[RowGroup, ...], greatest_code: float) -> None:
        self.shape = values.shape
        self.groups = groups
        self.packed: list[NDArray[np.int16]] | None = None
        self._values: Real = values
        narrow = values.dtype == np.float32 and greatest_code <= _WIDEST
        if narrow and has_dot_product() and float(np.abs(values).max()) <= _WIDEST:
            self.packed = [pack(values[g.start : g.stop].astype(np.float32)) for g in groups]
            self._values = values[:0].copy()  # only its type is needed

    @property
    def dtype(self) -> np.dtype[np.int16] | np.dtype[np.float32] | np.dtype[np.float64]:
        """Type that planes must have."""
        return np.dtype(np.int16) if self.packed is not None else self._values.dtype

    def empty_planes(self, count: int) -> Planes:
        """Return room for planes [>= count, >= n_in]; what is beyond is never used."""
        if self.packed is None:
            return np.empty((count, self.shape[0]), dtype=self._values.dtype)
        return np.empty((-(-count // TILE) * TILE, self.shape[0] + 2), dtype=np.int16)

    def adopt(self, planes: Planes, count: int) -> Planes:
        """Return planes in the type and shape that `fill` takes."""
        room = self.empty_planes(count)
        room[:count, : self.shape[0]] = planes[:count, : self.shape[0]]
        return room

    def empty_sums(self, planes: Planes) -> Real:
        """Return room for the sums of planes, [>= count, >= columns]."""
        columns = self.shape[1]
        if self.packed is None:
            return np.empty((planes.shape[0], columns), dtype=self._values.dtype)
        return np.empty((planes.shape[0], -(-columns // BLOCK) * BLOCK), dtype=np.float32)

    def fill(self, planes: Planes, group: int, sums: Real) -> None:
        """Fill the column sums of one row group."""
        place = self.groups[group]
        if self.packed is not None:
            packed = self.packed[group]
            multiply_packed(planes, place.start, packed.shape[1], packed, sums)
        else:
            rows = slice(place.start, place.stop)
            np.matmul(planes[:, rows], self._values[rows], out=sums)
