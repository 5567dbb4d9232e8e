"""Slices of a weight summed before the converter, with the mismatch of what sums them.

A converted column holds V = sum_s a_s V_s of the slices of its weights, by a ratio for each slice s
of c bits that is frozen in silicon, one network for each converted column of each row block::

    binary   a_s = 2^(c s) (1 + sigma z_s / sqrt(2^(c s)))      2^(c s) units side by side
    c2c      a_s = 2^(c s) prod_{k > s} (1 + sigma z_k)          a division between slices

so that the lowest slice of a binary merge and all but the highest of a ladder err most. The gain
of the whole network is that of the converter behind it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.config.tile import NoMerge
from cimsim.mac.formats import Formats
from cimsim.mac.writing import Writing
from cimsim.rng import normals_at

__all__ = ["merge_columns", "merge_ratios"]

Columns = NDArray[np.float32]
Written = NDArray[np.float32] | NDArray[np.float64]


def merge_ratios(tile: Tile, formats: Formats, writing: Writing) -> NDArray[np.float64]:
    """Return what a level of each slice counts, [row blocks, slices, sides, n_out]."""
    shape = (formats.slices, formats.sides, formats.n_out)
    blocks = len(formats.tiling.row_blocks)
    ratios = np.empty((blocks, *shape))
    merge, places = tile.pe.merge, formats.places[:, None, None]
    sigma = 0.0 if isinstance(merge, NoMerge) else merge.sigma
    for block in range(blocks):
        z = np.zeros(shape)
        if sigma > 0.0:
            drawn = normals_at(int(np.prod(shape)), (block, 0, 0), writing.merge_key)
            z = drawn.astype(np.float64).reshape(shape)
        if merge.kind == "c2c":
            # A stage's division is that of every slice below it.
            stage = np.concatenate([1.0 + sigma * z[1:], np.ones((1, *shape[1:]))])
            ratios[block] = places * np.cumprod(stage[::-1], axis=0)[::-1]
        else:
            ratios[block] = places * (1.0 + sigma * z / np.sqrt(places))
    return ratios


def merge_columns(
    values: Written, squares: Written | None, tile: Tile, formats: Formats, writing: Writing
) -> tuple[Columns, Columns]:
    """Return the columns that are converted, and the read variances in them.

    Args:
        values: float32 [n_in, written columns x n_out], levels of each slice.
        squares: like `values`, read variance in levels^2, None if none is stored.
        tile: the tile.
        formats: of the matrix.
        writing: whose silicon merges.

    Returns:
        float32 [n_in, sides x n_out] of both; variances [1, 1] of 0 if none are stored.
    """
    ratios = merge_ratios(tile, formats, writing)
    shape = (-1, formats.slices, formats.sides, formats.n_out)
    wide = np.empty((formats.n_in, formats.sides * formats.n_out), dtype=np.float32)
    noise = np.zeros(wide.shape if squares is not None else (1, 1), dtype=np.float32)
    starts = formats.tiling.row_starts
    for block, ratio in enumerate(ratios):
        rows = slice(starts[block], starts[block + 1])
        held = values[rows].reshape(shape).astype(np.float64)
        wide[rows] = (held * ratio).sum(axis=1).reshape(len(held), -1)
        if squares is not None:
            spread = squares[rows].reshape(shape).astype(np.float64)
            noise[rows] = (spread * ratio**2).sum(axis=1).reshape(len(held), -1)
    return wide, noise
