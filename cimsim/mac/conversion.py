"""Column sums of one programmed matrix to codes: which kernel converts them, and with what.

Sums without fresh noise or converter errors take a short way; the others need the power of what
drives each row, and, where noise depends on the level, a second product of it with the squares.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.mac.adc import code_bounds
from cimsim.mac.convert import convert, convert_noisy, convert_units
from cimsim.mac.curves import curve_of
from cimsim.mac.feed import cycle_power, row_power
from cimsim.mac.formats import Formats
from cimsim.mac.inputs import Tokens
from cimsim.mac.noise import fresh_noise
from cimsim.mac.products import Planes, Products, Real
from cimsim.mac.program import Cells, greatest_power

__all__ = ["Conversion", "Target"]

_NO_ERRORS = np.zeros((3, 0), dtype=np.float32)
# Codes of outputs, codes of unit columns, weight of planes and of columns, signs of columns.
Target = tuple[
    Real, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]
]


class Conversion:
    """The converters behind one programmed matrix.

    Args:
        tile: the tile.
        formats: formats of the matrix.
        cells: what was written; its squares are packed here.
        step_levels: width of a code in levels.

    Attributes:
        low: lowest code.
        high: highest code.
        squares: second product, None where noise needs none.
        noise: variances of fresh noise, codes squared.
        has_fresh_noise: whether a conversion draws a number.
    """

    def __init__(self, tile: Tile, formats: Formats, cells: Cells, step_levels: float) -> None:
        self.tile, self.formats, self.converters = tile, formats, cells.converters
        self.low, self.high = code_bounds(formats, tile.adc.bits)
        self.squares: Products | None = None
        if cells.squares is not None:
            wide: Real = np.asarray(cells.squares, dtype=np.result_type(cells.squares, np.float32))
            self.squares = Products(wide, formats.groups, greatest_power(tile, formats))
        self.noise = fresh_noise(tile, formats, cells, step_levels)
        self.has_fresh_noise = cells.variance > 0.0 or self.noise.adc_variance > 0.0
        self._curve = curve_of(tile.adc)
        errs = self.has_fresh_noise or cells.converters is not None or self._curve.size > 0
        self._plain = not errs
        self._inverse = cells.grid / step_levels

    def power_planes(self, q: NDArray[np.int32], planes: Planes) -> Planes:
        """Return squared weighed codes of what each plane feeds, for noise fresh each cycle."""
        formats, tile, squares = self.formats, self.tile, self.squares
        if self.noise.row_variance == 0.0 and squares is None:
            return planes
        power: Planes
        if tile.pe.accumulate_cycles:
            power = cycle_power(q, formats)
        elif formats.max_code == 1:
            if squares is None or squares.dtype == planes.dtype:
                return planes
            power = planes
        else:
            power = np.square(planes, dtype=np.float32)
        return power if squares is None else squares.adopt(power, q.shape[0] * formats.planes)

    def convert(
        self,
        g: int,
        sums: Real,
        power: Planes,
        target: Target,
        tokens: Tokens,
    ) -> int:
        """Convert the sums of a row group.

        Args:
            g: row group.
            sums: float [>= n x planes, >= columns], whole multiples of the grid.
            power: from `power_planes`.
            target: what codes are added to, and how they are weighed.
            tokens: whose sums these are; their addresses key fresh noise.

        Returns:
            How many codes clipped.
        """
        acc, units, plane_weight, column_weight, signs = target
        if self._plain:
            bounds = (self._inverse, self.low, self.high)
            clipped: int = convert(sums, acc, plane_weight, column_weight, signs, *bounds)
            if units.shape[1] > 0:
                first = self.formats.columns - self.formats.units
                clipped += convert_units(sums, units, first, plane_weight, *bounds)
            return clipped
        noise, group = self.noise, self.formats.groups[g]
        variance = np.empty(acc.shape[0] * self.formats.planes, dtype=np.float32)
        row_power(power, group.start, group.stop, noise.row_variance, noise.adc_variance, variance)
        squares = sums[:0, :0]
        if self.squares is not None:
            squares = self.squares.empty_sums(power)
            self.squares.fill(power, g, squares)
        errors = _NO_ERRORS
        if self.converters is not None:
            errors = self.converters.of(group.row_block)
        scales = (
            self._inverse, self.low, self.high, noise.slope, noise.square_scale,
            self.has_fresh_noise, self._curve,
        )  # fmt: skip
        return int(
            convert_noisy(
                sums, squares, *target, scales, variance, errors, tokens.sequence,
                tokens.position, g, *tokens.key,
            )
        )  # fmt: skip
