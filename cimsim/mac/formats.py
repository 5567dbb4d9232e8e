"""Number formats of a tile: what a matrix and its inputs become on crossbars and cycles.

Weights: W = scale x W_q, W_q a symmetric signed integer of `weight.bits`. A weight is cut
into slices of `cell_bits`, one physical column each (a pair of columns with `differential`):

* differential: |W_q| in the positive or the negative cell of a pair.
* offset: U = W_q + 2^(B-1); the share 2^(B-1) sum(x) is subtracted digitally.
* isaac: as offset, but sum(x) is measured by a unit column of each crossbar (cells of the
  highest level that half of the range holds, 1 for 2-bit cells), and a column whose sum
  could exceed half of the range is stored as its complement (Shafiee et al., ISCA 2016).
* center: U = W_q - c with a digital centre c a logical column, here the column's least
  weight, because cells are unsigned (after RAELLA, Andrulis et al., ISCA 2023, which keeps
  signed offsets in pairs).

Inputs: X a symmetric signed integer of `input.bits`, fed `dac.bits` at a time as planes of
DAC codes, of which plane k counts `plane_weight[k]`:

* twos_complement: bits of X; the top one counts -2^(A-1). Needs 1-bit DACs.
* two_phase: the magnitudes of positive inputs, then those of negative ones, which count
  negative.
* shift: X + 2^(A-1), with the share 2^(A-1) sum(W) subtracted digitally.

With `pe.accumulate_cycles` the charge of all planes is weighed and summed before one
conversion, which is a single plane of X itself (X + 2^(A-1) for shift).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.tiling import Tiling, tile_matrix
from cimsim.config import Tile
from cimsim.errors import CimsimError
from cimsim.workload.program import Matrix, MatrixId

__all__ = ["FEED", "Formats", "RowGroup", "formats_of"]

# How the compiled feeder cuts an input into planes.
FEED = {"twos_complement": 0, "two_phase": 1, "shift": 2, "value": 3, "shifted_value": 4}


@dataclass(frozen=True)
class RowGroup:
    """Rows of one crossbar that are driven at once.

    Attributes:
        start: first row in the matrix.
        stop: one past the last row in the matrix.
        row_block: which row block they belong to.
    """

    start: int
    stop: int
    row_block: int


@dataclass(frozen=True)
class Formats:
    """Everything about one matrix on one kind of tile that does not depend on values.

    Attributes:
        tiling: how the matrix is cut over crossbars.
        encoding: weight encoding, "digital" for exact crossbars.
        slices: cells a weight (one of a pair counted).
        cell_bits: bits a slice.
        pair: a logical column has positive and negative cells.
        analog_difference: the pair is subtracted before the ADC.
        planes: conversions a read group takes for one vector (1 if charge accumulates).
        plane_weight: float64 [planes], what a plane's sum counts.
        feed: how inputs are cut, a value of `FEED`.
        dac_bits: bits of a plane's codes.
        max_code: greatest absolute value that a row is driven with.
        input_shift: added to X before it is fed; its share is subtracted digitally.
        weight_max: greatest absolute W_q.
        input_max: greatest absolute X.
        input_bits: bits of X.
        groups: row groups in order.
        signed_sums: column sums can be negative.
    """

    tiling: Tiling
    encoding: Literal["differential", "offset", "isaac", "center", "digital"]
    slices: int
    cell_bits: int
    pair: bool
    analog_difference: bool
    planes: int
    plane_weight: NDArray[np.float64]
    feed: int
    dac_bits: int
    max_code: int
    input_shift: int
    weight_max: int
    input_max: int
    input_bits: int
    groups: tuple[RowGroup, ...]
    signed_sums: bool

    @property
    def n_in(self) -> int:
        """Inputs of the matrix."""
        return self.tiling.matrix.n_in

    @property
    def n_out(self) -> int:
        """Outputs of the matrix."""
        return self.tiling.matrix.n_out

    @property
    def levels(self) -> int:
        """Levels of a cell."""
        return 1 << self.cell_bits

    @property
    def stored_columns(self) -> int:
        """Column sums a logical column gives: slices, twice that for pairs converted apart."""
        return self.slices * (2 if self.pair and not self.analog_difference else 1)

    @property
    def cells_per_weight(self) -> int:
        """Cells that hold one weight."""
        return self.slices * (2 if self.pair else 1)

    @property
    def units(self) -> int:
        """Unit columns of the matrix: one a column block with ISAAC's encoding."""
        return len(self.tiling.column_blocks) if self.encoding == "isaac" else 0

    @property
    def top_level(self) -> int:
        """Highest level that a weight can store; a cell may have more levels."""
        stored = self.weight_max if self.pair else 2 * self.weight_max + 1
        return min(self.levels - 1, stored)

    @property
    def unit_level(self) -> int:
        """Level of the cells of a unit column: the highest that half of the range holds."""
        return max(1, self.top_level // 2)

    @property
    def columns(self) -> int:
        """Converted columns side by side: stored columns x outputs, then unit columns."""
        return self.stored_columns * self.n_out + self.units

    @property
    def rows_at_once(self) -> int:
        """Rows of the largest group."""
        return max(g.stop - g.start for g in self.groups)

    @property
    def conversions_per_vector(self) -> int:
        """ADC samples of one vector, as `Tiling` counts them."""
        return self.columns * self.planes * len(self.groups) if self.encoding != "digital" else 0

    def column_weight(self) -> NDArray[np.float64]:
        """Return what each stored column of a weight counts, [stored_columns]."""
        weights = np.exp2(self.cell_bits * np.arange(self.slices, dtype=np.float64))
        if self.stored_columns == 2 * self.slices:
            return np.stack([weights, -weights], axis=1).ravel()
        return weights


def formats_of(matrix: MatrixId, n_in: int, n_out: int, tile: Tile) -> Formats:
    """Return the formats of a matrix [n_in, n_out] on a tile.

    Raises:
        CimsimError: if input signs and DAC bits do not go together.
    """
    tiling = tile_matrix(Matrix(matrix, n_in, n_out), tile)
    digital = tile.crossbar.kind == "digital"
    pair = tile.weight.encoding == "differential" and not digital
    analog_difference = pair and tile.pe.subtract == "analog"
    planes, feed, max_code = _planes(tile)
    shift = 1 << (tile.input.bits - 1) if tile.input.signed == "shift" else 0
    negative_codes = feed == FEED["value"]
    if not tile.pe.accumulate_cycles and planes.size != tiling.layout.cycles:
        raise CimsimError(
            "input cycles of the tiling and of the tile differ",
            key="tile.input.bits",
            value=tile.input.bits,
        )
    return Formats(
        tiling=tiling,
        encoding="digital" if digital else tile.weight.encoding,
        slices=tiling.layout.slices,
        cell_bits=tile.device.cell_bits,
        pair=pair,
        analog_difference=analog_difference,
        planes=planes.size,
        plane_weight=planes,
        feed=feed,
        dac_bits=tile.dac.bits,
        max_code=max_code,
        input_shift=shift,
        weight_max=(1 << (tile.weight.bits - 1)) - 1,
        input_max=(1 << (tile.input.bits - 1)) - 1,
        input_bits=tile.input.bits,
        groups=_row_groups(tiling, tile),
        signed_sums=analog_difference or negative_codes,
    )


def _planes(tile: Tile) -> tuple[NDArray[np.float64], int, int]:
    """Return plane weights, the feed and the greatest code."""
    signed, bits, step = tile.input.signed, tile.input.bits, tile.dac.bits
    if signed == "twos_complement" and step != 1:
        raise CimsimError(
            "two's complement inputs are fed one bit at a time",
            key="tile.dac.bits",
            value=step,
            allowed="1",
            hint="use tile.input.signed two_phase or shift with wider DACs",
        )
    fed_bits = bits - 1 if signed == "two_phase" else bits
    weights = np.exp2(step * np.arange(ceil(fed_bits / step), dtype=np.float64))
    if signed == "twos_complement":
        weights[-1] = -weights[-1]
    elif signed == "two_phase":
        weights = np.concatenate([weights, -weights])
    if tile.pe.accumulate_cycles:
        feed = FEED["shifted_value"] if signed == "shift" else FEED["value"]
        top = (1 << bits) - 1 if signed == "shift" else (1 << (bits - 1)) - 1
        return np.ones(1), feed, top
    return weights, FEED[signed], (1 << step) - 1


def _row_groups(tiling: Tiling, tile: Tile) -> tuple[RowGroup, ...]:
    active = min(tile.crossbar.rows_active or tile.crossbar.rows, tile.crossbar.rows)
    groups = []
    base = 0
    for block, rows in enumerate(tiling.row_blocks):
        end = base + rows
        groups += [RowGroup(i, min(i + active, end), block) for i in range(base, end, active)]
        base = end
    return tuple(groups)
