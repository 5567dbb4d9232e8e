"""Copies of a matrix behind the trim registers of their columns, and what a bring-up reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.config import Tile
from cimsim.mac import AdcRange, MacStatistics, Mode
from cimsim.mac.inputs import static_scale
from cimsim.mac.quantize import greatest_integer, quantize_weights
from cimsim.model import Checkpoint, ColumnTrim, Registers
from cimsim.model.array_backend import ArrayBackend
from cimsim.stages.copy import Copy
from cimsim.stages.stored_copies import Maker
from cimsim.workload.matrix import MatrixId, TokenKeys
from romer.deployment import BroughtUp

__all__ = ["TrimmedCopy", "behind_trims", "input_top", "lsb_of", "read_copies"]

BRING_UP = 1 << 62  # sequence number of a bring-up's reads: no text reaches it
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TrimmedCopy:
    """One copy of a matrix, its outputs y' = gain y + offset m (`cimsim.model.ColumnTrim`).

    Attributes:
        copy: the copy.
        registers: of its columns.
        backend: whose arrays these are.
    """

    copy: Copy
    registers: Registers
    backend: ArrayBackend

    @property
    def folds(self) -> bool:
        """Whether the folded form is faithful."""
        return self.copy.folds

    def multiply(
        self,
        x: Any,
        keys: TokenKeys,
        *,
        read_seed: int,
        mode: Mode,
        replica: int,
        statistics: MacStatistics | None,
    ) -> Any:
        """Return the trimmed product of tokens."""
        y = self.copy.multiply(
            x, keys, read_seed=read_seed, mode=mode, replica=replica, statistics=statistics
        )
        if not len(x):
            return y
        its = self.registers
        m = self.backend.greatest(x) if its.top is None else its.top
        return y * its.gain + its.offset * m

    @property
    def held_bytes(self) -> int:
        """Bytes that it takes, its folded form included."""
        return self.copy.held_bytes

    def forget_folded(self) -> None:
        """Free the folded form; it is made again when it is next used."""
        self.copy.forget_folded()

    def over(self, copy: Copy) -> TrimmedCopy:
        """Return the same registers behind another state of the copy."""
        return replace(self, copy=copy)


def input_top(tile: Tile, adc_range: AdcRange) -> float | None:
    """Return the greatest input of a static scale, None where each token has its own."""
    scale = static_scale(tile, adc_range)
    return scale * greatest_integer(tile.input.bits) if scale else None


def lsb_of(checkpoint: Checkpoint, matrix: MatrixId, tile: Tile) -> Floats:
    """Return what one LSB of a stored weight stands for, float32 [n_out]."""
    form = tile.weight
    return quantize_weights(
        checkpoint.matrix(matrix), form.bits, per_column=form.scale == "per_column"
    )[1]


def read_copies(
    copies: tuple[Copy, ...],
    names: tuple[MatrixId, MatrixId],
    top: float | None,
    lsb: Callable[[], Floats],
    backend: ArrayBackend,
    how: tuple[int, Mode],
) -> Iterator[BroughtUp]:
    """Yield copies of a matrix as a bring-up reads them.

    Args:
        copies: of the matrix.
        names: the matrix, and whose weights its cells hold.
        top: greatest input of a static scale, or None.
        lsb: gives what one LSB of a stored weight stands for, float32 [n_out].
        backend: whose arrays copies take.
        how: seed of the read noise, and mode.
    """
    for number, copy in enumerate(copies):
        read = partial(_read, copy, number, backend.of_layer(names[0].layer), how)
        yield BroughtUp(names[0], number, names[1], 1.0 if top is None else top, lsb, read)


def _read(
    copy: Copy, replica: int, backend: ArrayBackend, how: tuple[int, Mode], x: Floats
) -> Floats:
    n = len(x)
    keys = TokenKeys(np.full(n, BRING_UP, dtype=np.int64), np.arange(n, dtype=np.int64))
    given = backend.array(np.ascontiguousarray(x, dtype=np.float32))
    y = copy.multiply(given, keys, read_seed=how[0], mode=how[1], replica=replica, statistics=None)
    return backend.host(y)


def behind_trims(
    known: Maker, trim: ColumnTrim, top: float | None, backend: ArrayBackend
) -> tuple[Copy, ...]:
    """Return copies behind their registers; those made after the trim have none."""
    array, count = backend.array, len(trim.gain)
    copies = known()
    behind = [
        TrimmedCopy(copy, Registers(array(trim.gain[i]), array(trim.offset[i]), top), backend)
        for i, copy in enumerate(copies[:count])
    ]
    return (*behind, *copies[count:])
