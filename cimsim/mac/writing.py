"""Which copy of a matrix is written, and the addresses of what a chip seed freezes.

Two designs that differ in anything but their cells share every cell's error (common random
numbers), because no address names a crossbar, a tile or a place on the chip:

| what | key | counter |
|---|---|---|
| errors of a write, drift, 1/f noise | chip seed, matrix, copy, count | cell, row, draw |
| the same of ISAAC's unit columns | chip seed, matrix, copy, count | row, column block, draw |
| stuck cells | chip seed, silicon | cell, row |
| stuck cells of unit columns | chip seed, silicon | row, column block |
| errors of converters | chip seed, silicon | converter in its PE, PE, trimmed or drift |
| stuck columns | chip seed, silicon | converted column, row block |
| merges of slices | chip seed, silicon | slice, side and column, row block |

*row* is the logical row and *cell* is logical column x cells per weight + slice (and polarity)
within it, both over the whole matrix, however it is cut over crossbars. *count* is how often
this copy had been programmed before. *silicon* is the logical slot whose physical cells and
converters these are: of a copy that stays, the matrix and copy; of an expert that is switched,
the number of the slot and the role of the matrix. It stays when a slot is rewritten. PEs are
counted in the fragments of one matrix; with fewer converters a design uses some of those of
one with more (the converter of a crossbar is its place in the PE modulo the ADC count).

Pairing ends where designs store other cells or read them at other times: another encoding,
slicing or weight scale; other column blocks for ISAAC's unit columns; read noise under another
grouping of rows (it is a function of row group, cycle and column); tokens that go to the least
loaded copy; drift ages; and, where experts are switched, the order of switches. No device model
has a variance that a chip or a tile shares, nor one that varies over the chip: these are not
modelled.
"""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.rng import derive_key
from cimsim.workload.matrix import PART_OF_ROLE, MatrixId

__all__ = ["DRIFT", "FLICKER", "NO_SLOT", "REWRITE", "WRITE", "Key", "Writing", "matrix_words"]

NO_SLOT = -1
# Draws of one cell; the first rewrite is REWRITE, the next ones follow.
WRITE, DRIFT, FLICKER, REWRITE = 0, 1, 2, 3

_PURPOSE_CELL, _PURPOSE_CONVERTER = 1, 2
_PURPOSE_STUCK, _PURPOSE_UNIT, _PURPOSE_STUCK_UNIT, _PURPOSE_STUCK_COLUMN = 4, 5, 6, 7
_PURPOSE_MERGE = 8
_ROLES = tuple(PART_OF_ROLE)
Key = tuple[int, int]


def matrix_words(matrix: MatrixId) -> tuple[int, int, int]:
    """Return the numbers that stand for a matrix in the address of a random number."""
    role = _ROLES.index(matrix.role) if matrix.role in _ROLES else -1
    return matrix.layer, role, matrix.expert


@dataclass(frozen=True)
class Writing:
    """One act of programming a copy of a matrix, and how old and warm it is when read.

    Attributes:
        chip_seed: which chip: seed of everything that is frozen.
        matrix: whose cells these are; where calibration puts another expert's weights into
            them, still the matrix that they were made for.
        copy: which copy of the matrix, from 0.
        count: how often this copy had been programmed before.
        slot: number of the slot that holds it on a chip that switches experts, NO_SLOT of a
            copy that keeps its cells.
        age_s: seconds since it was written; None takes `tile.device.age_s`.
        temperature_c: temperature of the chip; multiplies quantities named relative to 25 C.
    """

    chip_seed: int
    matrix: MatrixId
    copy: int = 0
    count: int = 0
    slot: int = NO_SLOT
    age_s: float | None = None
    temperature_c: float = 25.0

    @property
    def cell_keys(self) -> tuple[Key, Key]:
        """Keys of the cells of weights: of writes, of stuck cells."""
        return self._write_key(_PURPOSE_CELL), self._silicon_key(_PURPOSE_STUCK)

    @property
    def unit_keys(self) -> tuple[Key, Key]:
        """Keys of the cells of unit columns: of writes, of stuck cells."""
        return self._write_key(_PURPOSE_UNIT), self._silicon_key(_PURPOSE_STUCK_UNIT)

    @property
    def converter_key(self) -> Key:
        """Key of the errors of the converters."""
        return self._silicon_key(_PURPOSE_CONVERTER)

    @property
    def column_key(self) -> Key:
        """Key of the columns that are stuck."""
        return self._silicon_key(_PURPOSE_STUCK_COLUMN)

    @property
    def merge_key(self) -> Key:
        """Key of the mismatch of what merges slices."""
        return self._silicon_key(_PURPOSE_MERGE)

    def _write_key(self, purpose: int) -> Key:
        words = matrix_words(self.matrix)
        return derive_key(self.chip_seed, purpose, *words, self.copy, self.count)

    def _silicon_key(self, purpose: int) -> Key:
        words = matrix_words(self.matrix)
        if self.slot != NO_SLOT:
            return derive_key(self.chip_seed, purpose, self.slot, words[1])
        return derive_key(self.chip_seed, purpose, *words, self.copy)
