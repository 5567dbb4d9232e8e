"""How often each component of a tile acts for one input vector of a unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import Tiling, Unit, UnitKey
from cimsim.config import ChipConfig
from cimsim.cost.shift_add import PARTIAL_SUM_BITS

__all__ = ["ACTIONS", "UnitActions", "count_actions"]

# Columns of the table: actions of one vector of one unit.
ACTIONS = (
    "conversions",
    "row_drives",
    "cell_reads",
    "column_reads",
    "input_bits",
    "output_bits",
    "cells",
)


@dataclass(frozen=True)
class UnitActions:
    """Actions of one vector, for every unit.

    Attributes:
        index: row of a unit.
        table: int64 [units, len(ACTIONS)].
    """

    index: dict[UnitKey, int]
    table: NDArray[np.int64]

    def column(self, action: str) -> NDArray[np.int64]:
        """Return one action of every unit, int64 [units]."""
        found: NDArray[np.int64] = self.table[:, ACTIONS.index(action)]
        return found


def count_actions(units: Sequence[Unit], config: ChipConfig) -> UnitActions:
    """Count the actions of one vector of each unit.

    Units of the same shape (the experts of a model) are counted once.
    """
    cache: dict[object, tuple[int, ...]] = {}
    rows = []
    for unit in units:
        shape = tuple((t.row_blocks, t.column_blocks) for t in unit.tilings)
        if shape not in cache:
            parts = [_count(t, config) for t in unit.tilings]
            cache[shape] = tuple(sum(column) for column in zip(*parts, strict=True))
        rows.append(cache[shape])
    table = np.array(rows, dtype=np.int64).reshape(len(rows), len(ACTIONS))
    return UnitActions({u.key: i for i, u in enumerate(units)}, table)


def _count(tiling: Tiling, config: ChipConfig) -> tuple[int, ...]:
    """Count one vector of one matrix, in the order of `ACTIONS`."""
    analog = config.tile.crossbar.kind == "analog"
    n_blocks = len(tiling.column_blocks)
    cycles = tiling.layout.cycles
    rows = sum(tiling.row_blocks)
    # Every row of every fragment is driven once per cycle, in the group it belongs to.
    row_drives = rows * n_blocks * cycles
    if analog:
        columns = sum(tiling.physical_columns(c) for c in range(n_blocks))
    else:
        columns = sum(tiling.column_blocks)
    return (
        tiling.conversions_per_vector,
        row_drives,
        rows * columns * cycles,
        columns * sum(tiling.row_groups) * cycles,
        rows * n_blocks * config.tile.input.bits,
        # The accumulator of a digital crossbar is its output register, charged with it.
        len(tiling.row_blocks) * tiling.matrix.n_out * PARTIAL_SUM_BITS if analog else 0,
        tiling.cells,
    )
