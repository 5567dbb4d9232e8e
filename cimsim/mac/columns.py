"""The digital side of a matrix's columns: what a code on each of them counts in the output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.mac.encode import Encoded

__all__ = ["NO_SIGNS", "ColumnWeights", "columns_of"]

NO_SIGNS = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True)
class ColumnWeights:
    """Digital weights of the column sums of one matrix.

    Attributes:
        weight: float64 [stored columns], what each stored column of a weight counts.
        signs: of each row group, float32 [stored columns x n_out]: -1 where a column is stored as
            its complement, else 1; [0] where none is.
        block_of_output: int64 [n_out], column block of each output, whose unit column it uses.
        unit_coefficient: of each row group, float64 [n_out]: what one level on the unit column
            counts; none without unit columns.
        coefficient: float64 [n_out], what sum(x) counts digitally: the offset that was added to
            every weight, unless unit columns measure it.
        shift_share: float64 [n_out], share of what was added to every input.
    """

    weight: NDArray[np.float64]
    signs: tuple[NDArray[np.float32], ...]
    block_of_output: NDArray[np.int64]
    unit_coefficient: tuple[NDArray[np.float64], ...]
    coefficient: NDArray[np.float64]
    shift_share: NDArray[np.float64]

    def sign(self, group: int) -> NDArray[np.float32]:
        """Return the signs of the columns of a row group, [stored columns, n_out]."""
        shape = (self.weight.size, self.block_of_output.size)
        signs = self.signs[group]
        return signs.reshape(shape) if signs.size else np.ones(shape, dtype=np.float32)


def columns_of(encoded: Encoded) -> ColumnWeights:
    """Return the digital weights of an encoded matrix."""
    formats, flip = encoded.formats, encoded.flip
    weight = formats.column_weight()
    coefficient = -encoded.offset.astype(np.float64)
    signs, unit = (NO_SIGNS,) * len(formats.groups), []
    if formats.encoding == "isaac":
        signs = tuple(np.where(f, -1.0, 1.0).astype(np.float32).ravel() for f in flip)
        for f in flip:
            share = (weight[:, None] * f).sum(axis=0) * formats.top_level
            unit.append((share + coefficient) / formats.unit_level)
        coefficient = np.zeros(formats.n_out)
    column_sum = encoded.wq.sum(axis=0, dtype=np.int64)
    return ColumnWeights(
        weight=weight,
        signs=signs,
        block_of_output=formats.tiling.block_of_output,
        unit_coefficient=tuple(unit),
        coefficient=coefficient,
        shift_share=(formats.input_shift * column_sum).astype(np.float64),
    )
