"""Encoding a weight matrix: weights to integers, with offsets and complements of columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.mac.formats import Formats, formats_of
from cimsim.mac.quantize import quantize_weights
from cimsim.mac.write import flip_columns
from cimsim.workload.matrix import MatrixId

__all__ = ["Encoded", "encode"]


@dataclass(frozen=True)
class Encoded:
    """Integers of one matrix, before anything physical.

    Attributes:
        formats: its formats.
        wq: int16 [n_in, n_out].
        scale: float32 [n_out], weight of one LSB.
        offset: int64 [n_out], added to W_q before slicing; its share is subtracted digitally.
        flip: bool [groups, slices, n_out], complements of ISAAC's encoding, else [1, 1, 1].
        starts: int64 [groups], first rows of the row groups.
        stops: int64 [groups], one past their last rows.
    """

    formats: Formats
    wq: NDArray[np.int16]
    scale: NDArray[np.float32]
    offset: NDArray[np.int64]
    flip: NDArray[np.bool_]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]


def encode(weight: NDArray[np.float32], matrix: MatrixId, tile: Tile) -> Encoded:
    """Quantise and encode a weight matrix [n_in, n_out]."""
    per_column = tile.weight.scale == "per_column"
    wq, scale = quantize_weights(weight, tile.weight.bits, per_column=per_column)
    formats = formats_of(matrix, wq.shape[0], wq.shape[1], tile)
    starts, stops = np.array([(g.start, g.stop) for g in formats.groups], dtype=np.int64).T.copy()
    offset = np.zeros(formats.n_out, dtype=np.int64)
    flip = np.zeros((1, 1, 1), dtype=np.bool_)
    if formats.encoding in {"offset", "isaac"}:
        offset[:] = 1 << (tile.weight.bits - 1)
    elif formats.encoding == "center":
        offset[:] = -wq.min(axis=0).astype(np.int64)
    if formats.encoding == "isaac":
        flip = np.zeros((starts.size, formats.slices, formats.n_out), dtype=np.bool_)
        cut = (formats.slices, formats.cell_bits, formats.top_level, formats.halved_weights)
        flip_columns(wq, offset, starts, stops, *cut, flip)
    return Encoded(formats, wq, scale, offset, flip, starts, stops)
