"""A programmed matrix and its product with tokens: the functional tile.

One product of a batch, in the order of the hardware:

1. inputs to integers, integers to planes of DAC codes (`quantize`, `feed`);
2. for each group of rows driven at once, all column sums of all planes as one product of
   the stacked planes with the conductances, which are whole multiples of a grid chosen so
   that every sum is exact whatever the order of its terms;
3. read noise, converter errors, rounding, clipping, shift-and-add in one pass (`convert`);
4. digital offsets and scales.

No result depends on the other tokens of a batch.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.errors import CimsimError
from cimsim.mac.adc import AdcRange, step_of
from cimsim.mac.conversion import NO_SIGNS, Conversion
from cimsim.mac.convert import add_units, finish, flush
from cimsim.mac.encode import Encoded
from cimsim.mac.feed import feed_planes
from cimsim.mac.folded import FoldedMatrix
from cimsim.mac.formats import Formats
from cimsim.mac.inputs import checked_inputs, static_scale
from cimsim.mac.products import Planes, Products
from cimsim.mac.program import Cells, write_cells
from cimsim.mac.quantize import quantize_inputs
from cimsim.mac.statistics import MacStatistics, MatrixCounts, exact_share
from cimsim.mac.writing import Writing, matrix_words
from cimsim.rng import derive_key
from cimsim.workload.program import MatrixId, TokenKeys

__all__ = ["Mode", "ProgrammedMatrix"]

Mode = Literal["detailed", "folded"]

_PURPOSE_READ = 3
# Column sums at a time: within a second-level cache; BLAS packs the matrix anew at every call.
_CHUNK_BYTES = 1 << 20
_CHUNK_BYTES_BLAS = 1 << 23


class ProgrammedMatrix:
    """One copy of a weight matrix on its crossbars.

    Attributes:
        matrix: its name.
        writing: what was written, and how old and warm it is.
        formats: its formats.
        step_levels: width of an ADC code in levels.
    """

    def __init__(
        self,
        tile: Tile,
        encoded: Encoded,
        cells: Cells,
        adc_range: AdcRange,
        writing: Writing,
    ) -> None:
        self.matrix: MatrixId = writing.matrix
        self.tile = tile
        self.encoded = encoded
        self.cells = cells
        self.adc_range = adc_range
        self.writing = writing
        self.formats: Formats = encoded.formats
        self.step_levels = step_of(tile, self.formats, adc_range)
        self._input_scale = static_scale(tile, adc_range)
        groups = self.formats.groups
        self.products = Products(cells.wide(), groups, self.formats.max_code)
        self.conversion = Conversion(tile, self.formats, cells, self.step_levels)
        packed = self.conversion.squares
        # What is packed need not be kept wide.
        if self.products.packed is not None:
            self.cells = replace(self.cells, values=cells.values.astype(np.int16))
        if cells.squares is not None and packed is not None and packed.packed is not None:
            self.cells = replace(self.cells, squares=cells.squares.astype(np.int16))
        self._prepare_columns()

    def _prepare_columns(self) -> None:
        formats = self.formats
        self.column_weight = formats.column_weight()
        shifted = formats.input_shift
        column_sum = self.encoded.wq.sum(axis=0, dtype=np.int64)
        self.shift_share = (shifted * column_sum).astype(np.float64)
        # What sum(x) counts digitally: the offset that was added to every weight.
        self.coefficient = -self.encoded.offset.astype(np.float64)
        self._signs = [NO_SIGNS] * len(formats.groups)
        self._unit_coefficient: list[NDArray[np.float64]] = []
        self.block_of_output = np.repeat(
            np.arange(len(formats.tiling.column_blocks)), formats.tiling.column_blocks
        )
        if formats.encoding == "isaac":
            flip = self.encoded.flip
            self._signs = [np.where(f, -1.0, 1.0).astype(np.float32).ravel() for f in flip]
            for f in flip:
                share = (self.column_weight[:, None] * f).sum(axis=0) * formats.top_level
                self._unit_coefficient.append((share + self.coefficient) / formats.unit_level)
            self.coefficient = np.zeros(formats.n_out)
        most = sum(abs(formats.plane_weight)) * sum(abs(self.column_weight))
        most *= max(self.conversion.high, -self.conversion.low) * len(formats.groups)
        self._acc_dtype = np.float32 if most <= 2.0**24 else np.float64

    def multiply(
        self,
        x: NDArray[np.float32],
        keys: TokenKeys,
        *,
        read_seed: int,
        mode: Mode = "detailed",
        replica: int = 0,
        statistics: MacStatistics | None = None,
    ) -> NDArray[np.float32]:
        """Return the noisy product of tokens with the matrix.

        Args:
            x: float32 [n, n_in].
            keys: addresses of the tokens; they key fresh noise.
            read_seed: seed of fresh noise.
            mode: every slice, cycle and conversion, or a folded tile. A tile that cannot be
                folded faithfully (`folds`) is computed in detail.
            replica: which copy of the matrix this is; keys fresh noise.
            statistics: counts are added here.

        Returns:
            float32 [n, n_out].

        Raises:
            CimsimError: if the shape is wrong or an input is not finite.
        """
        x, sequence, position = checked_inputs(x, keys, self.formats.n_in)
        n = x.shape[0]
        out = np.empty((n, self.formats.n_out), dtype=np.float32)
        if n == 0:
            return out
        q = np.empty(x.shape, dtype=np.int32)
        scale = np.empty(n, dtype=np.float32)
        if not quantize_inputs(x, self.formats.input_bits, self._input_scale, q, scale):
            raise CimsimError(f"an input of matrix {self.matrix} is not a finite number")
        key = derive_key(read_seed, _PURPOSE_READ, *matrix_words(self.matrix), replica)
        folded = self.folded if mode == "folded" else None
        if folded is not None:
            folded.multiply(q, scale, sequence, position, key, out)
            counts = MatrixCounts(vectors=n)
        else:
            counts = self.multiply_detailed(q, scale, sequence, position, key, out)
        if statistics is not None:
            counts.level_fraction_sum = n * exact_share(self.cells.mean_fraction)
            statistics.add(self.matrix, counts)
        return out

    def column_signs(self, group: int) -> NDArray[np.float32]:
        """Return -1 where a column of a row group is stored as its complement, else 1."""
        shape = (self.column_weight.size, self.formats.n_out)
        signs = self._signs[group]
        return signs.reshape(shape) if signs.size else np.ones(shape, dtype=np.float32)

    def output_gain(self, row_block: int) -> NDArray[np.float64]:
        """Return the digital gain of each output of a row block, [n_out]."""
        gain = self.cells.gain
        if gain is None:
            return np.ones(self.formats.n_out)
        return np.asarray(gain[row_block, self.block_of_output])

    def unit_coefficient(self, group: int) -> NDArray[np.float64]:
        """Return what one level on the unit column of a row group counts, [n_out]."""
        return self._unit_coefficient[group]

    def at(self, age_s: float) -> ProgrammedMatrix:
        """Return the same copy as it is `age_s` seconds after it was written."""
        return self.rewritten(replace(self.writing, age_s=age_s))

    def rewritten(self, writing: Writing) -> ProgrammedMatrix:
        """Return the same weights as another act of programming leaves them."""
        tables = self.cells.tables if writing.age_s == self.writing.age_s else None
        cells = write_cells(self.encoded, self.tile, writing, tables)
        return ProgrammedMatrix(self.tile, self.encoded, cells, self.adc_range, writing)

    @property
    def ages(self) -> bool:
        """Whether conductances change with time."""
        tables = self.cells.tables
        return bool(tables.nu_mean.any() or tables.nu_sigma.any() or tables.flicker.any())

    @cached_property
    def folded(self) -> FoldedMatrix | None:
        """The folded form, None where it is not faithful to the detailed one."""
        folded = FoldedMatrix(self)
        return folded if folded.faithful() else None

    def forget_folded(self) -> None:
        """Free the folded form; it is made again, with the same bits, when it is next used."""
        self.__dict__.pop("folded", None)

    @property
    def folds(self) -> bool:
        """Whether the folded form is faithful: few clipped codes, errors that are random."""
        return self.folded is not None

    def codes(
        self, x: NDArray[np.float32], keys: TokenKeys, *, read_seed: int, replica: int = 0
    ) -> NDArray[np.int32]:
        """Return every ADC code, int32 [row groups, n, planes, columns]: for inspection.

        Columns are stored columns x outputs, then unit columns. The same kernels convert
        here and in `multiply`; only one plane and column counts at a time.
        """
        formats = self.formats
        x, sequence, position = checked_inputs(x, keys, formats.n_in)
        n, columns = x.shape[0], formats.columns
        q = np.empty(x.shape, dtype=np.int32)
        scale = np.empty(n, dtype=np.float32)
        if not quantize_inputs(x, formats.input_bits, self._input_scale, q, scale):
            raise CimsimError(f"an input of matrix {self.matrix} is not a finite number")
        key = derive_key(read_seed, _PURPOSE_READ, *matrix_words(self.matrix), replica)
        planes, _ = self.planes_of(q, MatrixCounts())
        power = self.conversion.power_planes(q, planes)
        found = np.empty((len(formats.groups), n, formats.planes, columns), dtype=np.int32)
        sums = self.products.empty_sums(planes)
        for g in range(len(formats.groups)):
            self.products.fill(planes, g, sums)
            for k in range(formats.planes):
                only = np.zeros(formats.planes)
                only[k] = 1.0
                acc = np.zeros((n, columns))
                target = (acc, np.zeros((n, 0)), only, np.ones(1), NO_SIGNS)
                self.conversion.convert(g, sums, power, target, sequence, position, key)
                found[g, :, k] = acc.astype(np.int32)
        return found

    def planes_of(
        self, q: NDArray[np.int32], counts: MatrixCounts
    ) -> tuple[Planes, NDArray[np.float64]]:
        """Return what rows are driven with, [n x planes, n_in], and the sum of fed inputs."""
        formats = self.formats
        planes = self.products.empty_planes(q.shape[0] * formats.planes)
        fed = np.empty(q.shape[0], dtype=np.float64)
        counts.code_sum += feed_planes(
            q, planes, formats.planes, formats.feed, formats.dac_bits, formats.input_shift,
            formats.halved_inputs, max(1, formats.planes // 2), fed,
        )  # fmt: skip
        return planes, fed

    @property
    def chunk_tokens(self) -> int:
        """Tokens whose sums are held at a time; no result depends on it."""
        per_token = self.formats.planes * (self.formats.columns + self.formats.n_in)
        most = _CHUNK_BYTES_BLAS if self.products.packed is None else _CHUNK_BYTES
        return max(1, most // (max(4, self.cells.values.itemsize) * per_token))

    def multiply_detailed(
        self,
        q: NDArray[np.int32],
        scale: NDArray[np.float32],
        sequence: NDArray[np.int64],
        position: NDArray[np.int64],
        key: tuple[int, int],
        out: NDArray[np.float32],
    ) -> MatrixCounts:
        """Fill `out` [n, n_out] with the detailed product of integers q [n, n_in]."""
        formats = self.formats
        n, chunk = q.shape[0], self.chunk_tokens
        counts = MatrixCounts(vectors=n, conversions=n * formats.conversions_per_vector)
        counts.code_slots = n * formats.planes * formats.n_in * formats.full_code
        for start in range(0, n, chunk):
            part = slice(start, min(start + chunk, n))
            self._multiply_chunk(
                q[part], scale[part], sequence[part], position[part], key, out[part], counts
            )
        return counts

    def _multiply_chunk(
        self,
        q: NDArray[np.int32],
        scale: NDArray[np.float32],
        sequence: NDArray[np.int64],
        position: NDArray[np.int64],
        key: tuple[int, int],
        out: NDArray[np.float32],
        counts: MatrixCounts,
    ) -> None:
        formats = self.formats
        n, n_out = out.shape
        planes, fed = self.planes_of(q, counts)
        power = self.conversion.power_planes(q, planes)
        acc = np.zeros((n, n_out), dtype=self._acc_dtype)
        units = np.zeros((n, formats.units), dtype=np.float64)
        extra = np.zeros((n, n_out) if formats.units else (0, 0), dtype=np.float64)
        sums = self.products.empty_sums(planes)
        total = np.zeros(acc.shape if self.cells.gain is not None else (0, 0))
        for g, group in enumerate(formats.groups):
            self.products.fill(planes, g, sums)
            target = (acc, units, formats.plane_weight, self.column_weight, self._signs[g])
            clipped = self.conversion.convert(g, sums, power, target, sequence, position, key)
            counts.clipped += clipped
            if self.cells.gain is not None:
                if formats.units:
                    units *= self.cells.gain[group.row_block]
                flush(total, acc, self.output_gain(group.row_block))
            if formats.units:
                add_units(
                    extra, units, self._unit_coefficient[g], self.block_of_output, self.step_levels
                )
        acc = total if self.cells.gain is not None else acc
        finish(
            out, acc, extra, fed, self.step_levels, self.coefficient, self.shift_share, scale,
            self.encoded.scale,
        )  # fmt: skip
