"""Column sums of one programmed matrix to codes: which kernel converts them, and with what.

Sums without fresh noise or converter errors take a short way; the others need the power of what
drives each row, and, where noise depends on the level, a second product of it with the squares.
Columns that are converted again take theirs (`cimsim.mac.recovery`). With `input.skip_zeros` a read
none of whose rows is driven is not converted: its codes are 0, without noise or offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.mac.adc import code_bounds
from cimsim.mac.convert import convert, convert_noisy, convert_units
from cimsim.mac.curves import curve_of
from cimsim.mac.feed import (
    cycle_power,
    driven_planes,
    fed_planes,
    recovery_planes,
    row_power,
)
from cimsim.mac.formats import Formats
from cimsim.mac.inputs import Tokens
from cimsim.mac.noise import fresh_noise
from cimsim.mac.products import Planes, Products, Real
from cimsim.mac.program import Cells, greatest_power
from cimsim.mac.recovery import convert_recovered
from cimsim.mac.search import comparisons
from cimsim.mac.statistics import MatrixCounts

__all__ = ["Conversion", "Drive", "Target"]

_NO_ERRORS = np.zeros((3, 0), dtype=np.float32)
_UNCOUNTED = np.zeros(0, dtype=np.int64)
# Codes of outputs, codes of unit columns, weight of planes and of columns, signs of columns.
Target = tuple[
    Real, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]
]


@dataclass(frozen=True)
class Drive:
    """What drives the rows of a matrix for some tokens.

    Attributes:
        planes: DAC codes of the planes, and of recovery cycles if there are any.
        power: squared weighed codes of the same, for noise fresh each cycle.
    """

    planes: tuple[Planes, ...]
    power: tuple[Planes, ...]


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
        searches = tile.adc.search == "lsb_first"
        self._comparisons = comparisons(self.low, self.high) if searches else _UNCOUNTED
        self._follows_data = formats.recoveries > 0 or searches

    def drive(
        self, q: NDArray[np.int32], products: Products, counts: MatrixCounts
    ) -> tuple[Drive, NDArray[np.float64]]:
        """Return what integers q [n, n_in] drive rows with, and the sum of each token's inputs.

        Args:
            q: the integers.
            products: whose form planes take.
            counts: codes are counted here.
        """
        formats, n = self.formats, q.shape[0]
        planes = products.empty_planes(n * formats.planes)
        fed, ones = fed_planes(q, formats, planes)
        counts.code_sum += ones
        drive = Drive((planes,), (self.power_planes(q, planes),))
        if not formats.recoveries:
            return drive, fed
        again = products.empty_planes(n * formats.recoveries)
        counts.recovery_code_sum += recovery_planes(planes, n, formats, again)
        top = (1 << formats.recovery_bits) - 1
        power = self._squared(again, n * formats.recoveries, top)
        return Drive((planes, again), (*drive.power, power)), fed

    def power_planes(self, q: NDArray[np.int32], planes: Planes) -> Planes:
        """Return squared weighed codes of what each plane feeds, for noise fresh each cycle."""
        formats, squares = self.formats, self.squares
        count = q.shape[0] * formats.planes
        if not self.tile.pe.accumulate_cycles:
            return self._squared(planes, count, formats.max_code)
        if self.noise.row_variance == 0.0 and squares is None:
            return planes
        power = cycle_power(q, formats)
        return power if squares is None else squares.adopt(power, count)

    def _squared(self, planes: Planes, count: int, max_code: int) -> Planes:
        """Return squared codes of planes, as the second product takes them."""
        squares = self.squares
        if self.noise.row_variance == 0.0 and squares is None:
            return planes
        power: Planes = planes
        if max_code > 1:
            power = np.square(planes, dtype=np.float32)
        elif squares is None or squares.dtype == planes.dtype:
            return planes
        return power if squares is None else squares.adopt(power, count)

    def convert(
        self,
        g: int,
        sums: tuple[Real, ...],
        drive: Drive,
        target: Target,
        tokens: Tokens,
        counts: MatrixCounts,
    ) -> None:
        """Convert the sums of a row group.

        Args:
            g: row group.
            sums: of the planes, float [>= n x planes, >= columns], whole multiples of the grid,
                and of those of recovery cycles, if there are any.
            drive: what drives rows.
            target: what codes are added to, and how they are weighed.
            tokens: whose sums these are; their addresses key fresh noise.
            counts: clipped codes, skipped and recovery conversions are counted here.
        """
        formats, n = self.formats, target[0].shape[0]
        rows = (n * formats.planes, n * formats.recoveries)
        driven = self._driven(g, drive.planes, rows, counts)
        if self._plain and not self._follows_data:
            # A plane that drives no row gives the code 0 here, skipped or not.
            acc, units, plane_weight = target[:3]
            bounds = (self._inverse, self.low, self.high)
            counts.clipped += convert(sums[0], acc, *target[2:], *bounds)
            if units.shape[1] > 0:
                first = formats.columns - formats.units
                counts.clipped += convert_units(sums[0], units, first, plane_weight, *bounds)
            return
        fresh = [self._fresh(g, sums[0], *of) for of in zip(drive.power, rows, strict=False)]
        squares, variance = (tuple(each) for each in zip(*fresh, strict=True))
        errors, noise = _NO_ERRORS, self.noise
        if self.converters is not None:
            errors = self.converters.of(formats.groups[g].row_block)
        scales = (
            self._inverse, self.low, self.high, noise.slope, noise.square_scale,
            self.has_fresh_noise, self._curve,
        )  # fmt: skip
        address = (tokens.sequence, tokens.position, g, *tokens.key)
        if not self._follows_data:
            counts.clipped += convert_noisy(
                sums[0], squares[0], *target, scales, variance[0], errors, driven[0], *address
            )
            return
        clipped, made, searched = convert_recovered(
            _both(sums), _both(squares), _both(variance), _both(driven), *target, scales,
            errors, self._comparisons, formats.first_recovery, formats.recovery_share, *address,
        )  # fmt: skip
        counts.searched += searched
        counts.clipped += clipped
        counts.recovered += made
        counts.conversions += made

    def _driven(
        self, g: int, planes: tuple[Planes, ...], rows: tuple[int, ...], counts: MatrixCounts
    ) -> tuple[NDArray[np.bool_], ...]:
        """Return which planes drive a row of a group, and count the skipped; none if all do."""
        formats, group, found = self.formats, self.formats.groups[g], []
        for fed, count in zip(planes, rows, strict=False):
            driven = np.empty(count if formats.skip_zeros else 0, dtype=np.bool_)
            driven_planes(fed, group.start, group.stop, driven)
            found.append(driven)
        skipped = int(found[0].size - np.count_nonzero(found[0])) * formats.columns
        counts.skipped += skipped
        counts.conversions -= skipped
        return tuple(found)

    def _fresh(
        self, g: int, sums: Real, power: Planes, rows: int
    ) -> tuple[Real, NDArray[np.float32]]:
        """Return the second product of a row group, and the variance that columns share."""
        noise, group = self.noise, self.formats.groups[g]
        variance = np.empty(rows, dtype=np.float32)
        row_power(power, group.start, group.stop, noise.row_variance, noise.adc_variance, variance)
        if self.squares is None:
            return sums[:0, :0], variance
        squares = self.squares.empty_sums(power)
        self.squares.fill(power, g, squares)
        return squares, variance


def _both(found: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return what is of planes and of recovery cycles; without these, nothing reads theirs."""
    return found[0], found[-1]
