"""How one weight matrix is cut over crossbars: slices, row blocks and column blocks.

A logical column (one output) takes `slices` physical columns, twice that for a
differential pair; ISAAC's encoding adds one unit column per crossbar. Rows beyond one
crossbar give row blocks whose partial sums are added digitally; outputs beyond one
crossbar give column blocks. One fragment = one crossbar = (row block, column block).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import ceil

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.errors import CimsimError
from cimsim.workload.matrix import Matrix

__all__ = ["ColumnLayout", "Tiling", "column_layout", "recovery_slices", "tile_matrix"]


@dataclass(frozen=True)
class ColumnLayout:
    """Physical columns of a logical column under one number format.

    Attributes:
        slices: cells that a weight is spread over (one of a pair counted).
        pair: whether a weight is held by the difference of two cells.
        columns_per_weight: physical columns of a logical column.
        merged: whether slices are summed before one conversion.
        converted_per_weight: conversions a logical column takes a read; 0 on digital crossbars.
        unit_columns: extra physical columns per crossbar (ISAAC's unit column).
        weights_per_crossbar: logical columns that fit on one crossbar.
        cycles: input cycles of one vector.
        reads: reads of one row group for one vector, each of which is converted: its input
            cycles, or 1 where charge accumulates over them before the conversion.
        recoveries: further cycles of one vector, in which columns that were out of range are
            converted again.
    """

    slices: int
    pair: bool
    columns_per_weight: int
    merged: bool
    converted_per_weight: int
    unit_columns: int
    weights_per_crossbar: int
    cycles: int
    reads: int
    recoveries: int


def column_layout(tile: Tile) -> ColumnLayout:
    """Return how weights and inputs of this tile's formats occupy columns and cycles.

    Raises:
        CimsimError: if a crossbar is narrower than one weight, or columns that are merged could
            be stored as complements.
    """
    weight, device = tile.weight, tile.device
    analog = tile.crossbar.kind == "analog"
    pair = weight.encoding == "differential" and analog
    # A differential pair stores a magnitude: the sign is in the choice of the cell. That of
    # +-1, of one bit, is 1.
    stored_bits = max(1, weight.bits - 1) if pair else weight.bits
    slices = ceil(stored_bits / device.cell_bits)
    per_weight = slices * (2 if pair else 1)
    merged = tile.pe.merge.kind != "none" and analog
    if merged and weight.encoding == "isaac":
        raise CimsimError(
            "slices that are stored as complements, each by itself, cannot be merged",
            key="tile.pe.merge",
            value=tile.pe.merge.kind,
            allowed="none with tile.weight.encoding isaac",
            hint="take encoding differential, offset or center",
        )
    converted = (
        (1 if merged else slices) * (2 if pair and tile.pe.subtract == "digital" else 1) * analog
    )
    unit = 1 if weight.encoding == "isaac" and analog else 0
    fit = (tile.crossbar.cols - unit) // per_weight
    if fit < 1:
        raise CimsimError(
            "a crossbar is narrower than one weight",
            key="tile.crossbar.cols",
            value=tile.crossbar.cols,
            allowed=f"at least {per_weight + unit} for {weight.bits}-bit weights in "
            f"{device.cell_bits}-bit cells",
        )
    phases = 2 if tile.input.signed == "two_phase" else 1
    cycles = phases * ceil(tile.input.fed_bits / tile.dac.bits)
    reads = 1 if analog and tile.pe.accumulate_cycles else cycles
    again = phases * sum(recovery_slices(tile)) * analog
    return ColumnLayout(
        slices, pair, per_weight, merged, converted, unit, fit, cycles, reads, again
    )


def recovery_slices(tile: Tile) -> tuple[int, ...]:
    """Return in how many recovery cycles each input cycle of one sign is repeated."""
    again, step, fed = tile.dac.recovery_bits, tile.dac.bits, tile.input.fed_bits
    if again is None:
        return (0,) * ceil(fed / step)
    return tuple(ceil(min(step, fed - place) / again) for place in range(0, fed, step))


@dataclass(frozen=True)
class Tiling:
    """One matrix cut over crossbars.

    Attributes:
        matrix: the matrix.
        layout: columns of a weight.
        row_blocks: used rows of every row block.
        column_blocks: logical columns of every column block.
        rows_at_once: most rows that one read drives.
    """

    matrix: Matrix
    layout: ColumnLayout
    row_blocks: tuple[int, ...]
    column_blocks: tuple[int, ...]
    rows_at_once: int

    @property
    def row_groups(self) -> tuple[int, ...]:
        """Reads that each row block takes because only some rows are driven at once."""
        return tuple(ceil(rows / self.rows_at_once) for rows in self.row_blocks)

    @property
    def row_starts(self) -> tuple[int, ...]:
        """First row of every row block, and the end of the last one."""
        return (0, *accumulate(self.row_blocks))

    @property
    def column_starts(self) -> tuple[int, ...]:
        """First logical column of every column block, and the end of the last one."""
        return (0, *accumulate(self.column_blocks))

    @property
    def block_of_output(self) -> NDArray[np.int64]:
        """Column block of every output, [n_out]."""
        return np.repeat(np.arange(len(self.column_blocks)), self.column_blocks)

    @property
    def crossbars(self) -> int:
        """Crossbars that one copy of the matrix takes (fragments in row-major order)."""
        return len(self.row_blocks) * len(self.column_blocks)

    @property
    def cells(self) -> int:
        """Cells that hold a level of this matrix (unit columns included)."""
        weights = self.matrix.size * self.layout.columns_per_weight
        units = sum(self.row_blocks) * len(self.column_blocks) * self.layout.unit_columns
        return weights + units

    def physical_columns(self, column_block: int) -> int:
        """Physical columns in use on the crossbars of one column block."""
        weights = self.column_blocks[column_block] * self.layout.columns_per_weight
        return weights + self.layout.unit_columns

    def conversions_per_read(self, column_block: int) -> int:
        """ADC samples of one read of one crossbar of a column block."""
        weights = self.column_blocks[column_block] * self.layout.converted_per_weight
        return weights + self.layout.unit_columns

    def reads_per_vector(self, row_block: int) -> int:
        """Reads of one input vector on one row block, those of recovery cycles included."""
        return (self.layout.reads + self.layout.recoveries) * self.row_groups[row_block]

    @property
    def conversions_per_vector(self) -> int:
        """ADC samples of one input vector over all crossbars: none skipped, none recovered."""
        columns = sum(self.conversions_per_read(c) for c in range(len(self.column_blocks)))
        return columns * self.layout.reads * sum(self.row_groups)


def tile_matrix(matrix: Matrix, tile: Tile) -> Tiling:
    """Cut a matrix over crossbars of this tile.

    Blocks are filled in order; the last one of a row or column is partly filled.
    """
    layout = column_layout(tile)
    return Tiling(
        matrix=matrix,
        layout=layout,
        row_blocks=_blocks(matrix.n_in, tile.crossbar.rows),
        column_blocks=_blocks(matrix.n_out, layout.weights_per_crossbar),
        rows_at_once=tile.crossbar.rows_at_once,
    )


def _blocks(total: int, size: int) -> tuple[int, ...]:
    full, rest = divmod(total, size)
    return (size,) * full + ((rest,) if rest else ())
