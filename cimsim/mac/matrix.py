"""A programmed matrix and its product with tokens: the functional tile."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.mac.adc import AdcRange
from cimsim.mac.detailed import DetailedMatrix
from cimsim.mac.encode import Encoded
from cimsim.mac.folded import FoldedMatrix
from cimsim.mac.inputs import Tokens, checked_inputs, static_scale
from cimsim.mac.program import Cells, write_cells
from cimsim.mac.quantize import quantized_inputs
from cimsim.mac.statistics import MacStatistics, MatrixCounts, exact_share
from cimsim.mac.writing import Writing, matrix_words
from cimsim.rng import derive_key
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["Mode", "ProgrammedMatrix"]

Mode = Literal["detailed", "folded"]

_PURPOSE_READ = 3


class ProgrammedMatrix(DetailedMatrix):
    """One copy of a weight matrix on its crossbars.

    Attributes:
        matrix: its name.
        writing: what was written, and how old and warm it is.
    """

    def __init__(
        self,
        tile: Tile,
        encoded: Encoded,
        cells: Cells,
        adc_range: AdcRange,
        writing: Writing,
    ) -> None:
        super().__init__(tile, encoded, cells, adc_range)
        self.matrix: MatrixId = writing.matrix
        self.writing = writing
        self._input_scale = static_scale(tile, adc_range)

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
        tokens = self._tokens(x, keys, read_seed, replica)
        n = x.shape[0]
        out = np.empty((n, self.formats.n_out), dtype=np.float32)
        if n == 0:
            return out
        folded = self.folded if mode == "folded" else None
        if folded is not None:
            folded.multiply(tokens, out)
            counts = MatrixCounts(vectors=n)
        else:
            counts = self.multiply_detailed(tokens, out)
        if statistics is not None:
            counts.level_fraction_sum = n * exact_share(self.cells.mean_fraction)
            statistics.add(self.matrix, counts)
        return out

    def codes(
        self, x: NDArray[np.float32], keys: TokenKeys, *, read_seed: int, replica: int = 0
    ) -> NDArray[np.int32]:
        """Return every ADC code, as `codes_of` does, of float tokens: for inspection."""
        return self.codes_of(self._tokens(x, keys, read_seed, replica))

    def _tokens(
        self, x: NDArray[np.float32], keys: TokenKeys, read_seed: int, replica: int
    ) -> Tokens:
        x, sequence, position = checked_inputs(x, keys, self.formats.n_in)
        q, scale = quantized_inputs(x, self.formats.input_bits, self._input_scale, self.matrix)
        key = derive_key(read_seed, _PURPOSE_READ, *matrix_words(self.matrix), replica)
        return Tokens(q, scale, sequence, position, key)

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
        return folded if folded.faithful(self) else None

    @property
    def held_bytes(self) -> int:
        """Bytes that it takes, its folded form included: cells twice, integers, a float64 form."""
        cells = 2 * self.cells.values.nbytes
        squares = 0 if self.cells.squares is None else 2 * self.cells.squares.nbytes
        return cells + squares + self.encoded.wq.nbytes + 8 * self.encoded.wq.size

    def forget_folded(self) -> None:
        """Free the folded form; it is made again, with the same bits, when it is next used."""
        self.__dict__.pop("folded", None)

    @property
    def folds(self) -> bool:
        """Whether the folded form is faithful: few clipped codes, errors that are random."""
        return self.folded is not None
