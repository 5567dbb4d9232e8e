"""The converter range of least error: what a chip's bring-up finds on calibration text.

With s the column sums of calibration inputs on clean cells, in levels (every cycle, slice and row
group counts once), c the highest code and D(r) = max(r / c, 1) the width of a code of a range with
top r, a conversion errs in the mean by::

    E(r) = mean[(|s| - D min(round_half_even(|s| / D), c))^2] + D^2 (noise^2 + offset^2)

clipping and rounding, and what the converter adds in units of its own step: `noise_lsb` and lost
effective bits (noise), `offset_lsb`. `auto` takes the r of least E for each matrix, of ranges that
fall from the full one by a quarter of an octave down to codes of one level; of equals the widest.
Errors of cells do not depend on the range and have no term; gain errors, integral non-linearity
and transfer curves have none either.

What E costs an output, over the rms of the exact outputs y in units of one LSB product, is that of
conversions that err alike and independently (plane k counts w_k, column s of a weight c_s, G row
groups)::

    error(r) = sqrt(G sum_k w_k^2 sum_s c_s^2 E(r) / mean[y^2])

A narrower range clips, a wider one rounds: the least mean square balances them, as in Sakr et al.,
ICML 2022 (optimal clipping, arXiv 2206.06501), here over the sums seen instead of a formula.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.kernel_cache import cached
from cimsim.mac.adc import code_bounds, fresh_variance, full_range_levels
from cimsim.mac.formats import Formats

__all__ = ["SeenSums", "is_lossless"]

Real = NDArray[np.float64]
# Parts of an octave, written out: no library decides their last bits.
_FALLS = (1.0, 0.8408964152537145, 0.7071067811865476, 0.5946035575013605)


def is_lossless(tile: Tile, formats: Formats) -> bool:
    """Return whether codes of one level hold every sum: no range is better than the full one."""
    return full_range_levels(formats) <= code_bounds(formats, tile.adc.bits)[1]


@dataclass(frozen=True)
class SeenSums:
    """Column sums of a matrix on calibration inputs.

    Attributes:
        levels: float64 [bins], absolute sums.
        counts: int64 [bins], how often each was seen.
        tile: the tile.
        formats: of the matrix.
        signal: mean square of the exact outputs, in units of one LSB product.
    """

    levels: Real
    counts: NDArray[np.int64]
    tile: Tile
    formats: Formats
    signal: float

    @property
    def highest(self) -> int:
        """The highest code."""
        return code_bounds(self.formats, self.tile.adc.bits)[1]

    def error(self, step: float) -> float | None:
        """Return the error of outputs with codes of a width in levels; None if all are 0."""
        if self.signal == 0.0:
            return None
        formats = self.formats
        weighed = len(formats.groups) * float(np.sum(formats.plane_weight**2))
        weighed *= float(np.sum(formats.column_weight() ** 2))
        square = float(self._mean_squares(np.array([step]))[0])
        return float(np.sqrt(weighed * square / self.signal))

    def best(self) -> float:
        """Return the top of the range of least error in levels."""
        full, one_level = full_range_levels(self.formats), float(self.highest)
        octaves = range(int(full // one_level).bit_length())
        falling = [full * fall * 0.5**octave for octave in octaves for fall in _FALLS]
        # Below one level per code nothing is gained: there the step is one level.
        tops = np.array([top for top in falling if top > one_level] + [min(full, one_level)])
        squares = self._mean_squares(np.maximum(tops / self.highest, 1.0))
        return float(tops[int(np.argmin(squares))])

    def _mean_squares(self, steps: Real) -> Real:
        """Return E of codes of some widths, [steps]."""
        squares = np.empty_like(steps)
        _conversion_squares(self.levels, self.counts, steps, float(self.highest), squares)
        own = fresh_variance(self.tile) + self.tile.adc.offset_lsb**2
        found: Real = squares / max(1, int(self.counts.sum())) + steps**2 * own
        return found


@cached
@njit(error_model="numpy")
def _conversion_squares(levels, counts, steps, highest, squares):  # type: ignore[no-untyped-def]
    """Fill the squared errors of converting sums, summed, for every width of a code."""
    for k in range(steps.size):
        step = steps[k]
        total = 0.0
        for i in range(levels.size):
            left = levels[i] - step * min(np.rint(levels[i] / step), highest)
            total += np.float64(counts[i]) * left * left
        squares[k] = total
