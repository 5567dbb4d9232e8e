"""Grids on which column sums are exact, whatever the order of their terms.

Values become whole multiples of a power of two: the finest for which the greatest column sum of
the actual matrix, times the greatest code, stays at or below 2^24, which float32 holds exactly;
where that would be too coarse, float64 and 2^53.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cimsim.elementary import whole_log2
from cimsim.kernel_cache import cached
from cimsim.mac.encode import Encoded

__all__ = ["cell_bounds", "on_grid"]

_GRID_BITS = 12  # finest grid: 2**-12 of a level
# Below these grids float32 gives way to float64: 2**-6 of a level; of cells with many
# levels 2**-10 of the range and 2**-3 of a level, which is finer against the range.
_COARSEST_SINGLE = 6
_COARSEST_MANY = 3
_COARSEST_OF_RANGE = 10
_WIDEST_CELL = 2**15 - 1
Real = NDArray[np.float32] | NDArray[np.float64]


def cell_bounds(values: Real, cell_bits: int) -> tuple[int, int]:
    """Return the most bits below one of conductances in levels, and the least in float32."""
    coarsest = min(_COARSEST_SINGLE, max(_COARSEST_MANY, _COARSEST_OF_RANGE - cell_bits))
    finest = _GRID_BITS
    if values.any():  # cells of 15 bits multiply twice as fast, and seldom cost a bit
        narrow = whole_log2((_WIDEST_CELL - 0.5) / float(np.abs(values).max()))
        finest = max(min(finest, narrow), min(finest, _COARSEST_SINGLE))
    return finest, coarsest


def on_grid(
    values: Real, encoded: Encoded, greatest_code: float, finest: int, coarsest: int
) -> tuple[Real, float]:
    """Round values to a grid on which every column sum is exact.

    Args:
        values: float32 [n_in, columns]; rounded in place or replaced.
        encoded: gives the rows that are summed.
        greatest_code: greatest absolute value a row is multiplied with.
        finest: most bits below one.
        coarsest: least bits below one before float32 gives way to float64.

    Returns:
        Values in grid units and the size of a unit.
    """
    bound = _column_bound(values, encoded.starts, encoded.stops) * greatest_code
    rounding = 0.5 * encoded.formats.rows_at_once * greatest_code
    bits = finest
    if bound > 0.0 and rounding < 2.0**23:
        bits = min(finest, whole_log2((2.0**24 - rounding) / bound))
    if rounding >= 2.0**23 or bits < coarsest:
        values = values.astype(np.float64)
        bits = finest if bound == 0.0 else min(finest, whole_log2((2.0**53 - rounding) / bound))
    _to_grid(values, 2.0**bits)
    return values, 2.0**-bits


@cached
@njit(error_model="numpy")
def _column_bound(values, starts, stops):  # type: ignore[no-untyped-def]
    """Return the greatest sum of absolute values over the rows of a group in a column."""
    greatest = 0.0
    sums = np.zeros(values.shape[1], np.float64)
    for g in range(starts.size):
        sums[:] = 0.0
        for i in range(starts[g], stops[g]):
            for j in range(values.shape[1]):
                sums[j] += abs(np.float64(values[i, j]))
        for j in range(values.shape[1]):
            greatest = max(greatest, sums[j])
    return greatest


@cached
@njit(error_model="numpy")
def _to_grid(values, scale):  # type: ignore[no-untyped-def]
    """Round values to whole multiples of 1 / scale, in units of that."""
    factor = values.dtype.type(scale)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            values[i, j] = np.rint(values[i, j] * factor)
