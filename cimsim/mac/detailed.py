"""The detailed product: every slice, input cycle and conversion of a written matrix.

One product of a batch of integers, in the order of the hardware:

1. integers to planes of DAC codes (`feed`);
2. for each group of rows driven at once, all column sums of all planes as one product of
   the stacked planes with the conductances, which are whole multiples of a grid chosen so
   that every sum is exact whatever the order of its terms (`products`);
3. read noise, converter errors, rounding, clipping, shift-and-add in one pass (`conversion`);
4. digital offsets and scales.

No result depends on the other tokens of a batch.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.mac.adc import AdcRange, step_of
from cimsim.mac.columns import NO_SIGNS, columns_of
from cimsim.mac.conversion import Conversion, Drive
from cimsim.mac.convert import add_units, finish, flush
from cimsim.mac.encode import Encoded
from cimsim.mac.formats import Formats
from cimsim.mac.inputs import Tokens
from cimsim.mac.products import Products, Real
from cimsim.mac.program import Cells
from cimsim.mac.statistics import MatrixCounts

__all__ = ["DetailedMatrix"]

# Column sums at a time: within a second-level cache; BLAS packs the matrix anew at every call.
_CHUNK_BYTES = 1 << 20
_CHUNK_BYTES_BLAS = 1 << 23


class DetailedMatrix:
    """A written matrix and the converters behind it.

    Attributes:
        tile: the tile.
        encoded: integers of the matrix.
        cells: its conductances.
        adc_range: range of the converters.
        formats: its formats.
        step_levels: width of an ADC code in levels.
        columns: digital weights of its columns.
        products: conductances, ready to be multiplied.
        conversion: its converters.
    """

    def __init__(self, tile: Tile, encoded: Encoded, cells: Cells, adc_range: AdcRange) -> None:
        self.tile = tile
        self.encoded = encoded
        self.cells = cells
        self.adc_range = adc_range
        self.formats: Formats = encoded.formats
        self.step_levels = step_of(tile, self.formats, adc_range)
        self.columns = columns_of(encoded)
        self.products = Products(cells.wide(), self.formats.groups, self.formats.max_code)
        self.conversion = Conversion(tile, self.formats, cells, self.step_levels)
        packed = self.conversion.squares
        # What is packed need not be kept wide.
        if self.products.packed is not None:
            self.cells = replace(self.cells, values=cells.values.astype(np.int16))
        if cells.squares is not None and packed is not None and packed.packed is not None:
            self.cells = replace(self.cells, squares=cells.squares.astype(np.int16))
        most = sum(abs(self.formats.plane_weight)) * sum(abs(self.columns.weight))
        most *= max(self.conversion.high, -self.conversion.low) * len(self.formats.groups)
        if self.formats.recoveries:  # codes of recovery cycles, added up, pass the range
            most *= 2.0 * self.formats.recovery_share.max()
        self._acc_dtype = np.float32 if most <= 2.0**24 else np.float64

    def output_gain(self, row_block: int) -> NDArray[np.float64]:
        """Return the digital gain of each output of a row block, [n_out]."""
        gain = self.cells.gain
        if gain is None:
            return np.ones(self.formats.n_out)
        return np.asarray(gain[row_block, self.columns.block_of_output])

    def codes_of(self, tokens: Tokens) -> NDArray[np.int32]:
        """Return every ADC code, int32 [row groups, n, planes, columns].

        Columns are stored columns x outputs, then unit columns; of a column that was converted
        again, what replaces its code. The same kernels convert here and in `multiply_detailed`;
        only one plane and column counts at a time.
        """
        formats, n = self.formats, tokens.q.shape[0]
        ignored = MatrixCounts()
        drive, _ = self.conversion.drive(tokens.q, self.products, ignored)
        shape = (len(formats.groups), n, formats.planes, formats.columns)
        found = np.empty(shape, dtype=np.int32)
        sums = tuple(self.products.empty_sums(p) for p in drive.planes)
        for g in range(len(formats.groups)):
            self._fill(drive, g, sums)
            for k in range(formats.planes):
                only = np.zeros(formats.planes)
                only[k] = 1.0
                acc = np.zeros((n, formats.columns))
                target = (acc, np.zeros((n, 0)), only, np.ones(1), NO_SIGNS)
                self.conversion.convert(g, sums, drive, target, tokens, ignored)
                found[g, :, k] = acc.astype(np.int32)
        return found

    def _fill(self, drive: Drive, g: int, sums: tuple[Real, ...]) -> None:
        """Fill the column sums of a row group, of planes and of recovery cycles."""
        for planes, room in zip(drive.planes, sums, strict=True):
            self.products.fill(planes, g, room)

    @property
    def chunk_tokens(self) -> int:
        """Tokens whose sums are held at a time; no result depends on it."""
        cycles = self.formats.planes + self.formats.recoveries
        per_token = cycles * (self.formats.columns + self.formats.n_in)
        most = _CHUNK_BYTES_BLAS if self.products.packed is None else _CHUNK_BYTES
        return max(1, most // (max(4, self.cells.values.itemsize) * per_token))

    def multiply_detailed(self, tokens: Tokens, out: NDArray[np.float32]) -> MatrixCounts:
        """Fill `out` [n, n_out] with the product of the tokens, and count."""
        formats = self.formats
        n, chunk = out.shape[0], self.chunk_tokens
        counts = MatrixCounts(vectors=n, conversions=n * formats.tiling.conversions_per_vector)
        counts.code_slots = n * formats.planes * formats.n_in * formats.full_code
        counts.recoverable = n * formats.recoveries * len(formats.groups) * formats.columns
        top = (1 << formats.recovery_bits) - 1
        counts.recovery_code_slots = n * formats.recoveries * formats.n_in * top
        for start in range(0, n, chunk):
            rows = slice(start, min(start + chunk, n))
            self._multiply_chunk(tokens.part(rows), out[rows], counts)
        return counts

    def _multiply_chunk(
        self, tokens: Tokens, out: NDArray[np.float32], counts: MatrixCounts
    ) -> None:
        formats, columns, gain = self.formats, self.columns, self.cells.gain
        n, n_out = out.shape
        drive, fed = self.conversion.drive(tokens.q, self.products, counts)
        acc = np.zeros((n, n_out), dtype=self._acc_dtype)
        units = np.zeros((n, formats.units), dtype=np.float64)
        extra = np.zeros((n, n_out) if formats.units else (0, 0), dtype=np.float64)
        sums = tuple(self.products.empty_sums(p) for p in drive.planes)
        total = np.zeros(acc.shape if gain is not None else (0, 0))
        for g, group in enumerate(formats.groups):
            self._fill(drive, g, sums)
            target = (acc, units, formats.plane_weight, columns.weight, columns.signs[g])
            self.conversion.convert(g, sums, drive, target, tokens, counts)
            if gain is not None:
                if formats.units:
                    units *= gain[group.row_block]
                flush(total, acc, self.output_gain(group.row_block))
            if formats.units:
                coefficient = columns.unit_coefficient[g]
                add_units(extra, units, coefficient, columns.block_of_output, self.step_levels)
        finish(
            out, acc if gain is None else total, extra, fed, self.step_levels,
            columns.coefficient, columns.shift_share, tokens.scale, self.encoded.scale,
        )  # fmt: skip
