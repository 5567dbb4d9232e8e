"""Matrices of `fast` written on a CUDA device as the bytes that the detailed product reads.

One kernel draws the errors of `cimsim.mac` and stores them on the grid that cells of the tile are
expected to have; nothing else of a matrix's size is made in between, so that chips that do not fit
the device are written again in every pass. The grid is that of `packed.coarse` up to a digit: one
byte where a quarter of a level or finer fits into it, else two. What is small is made for many
matrices at once, as each operation costs the host more than the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cimsim.backends.torch.device_cells import constants_of, held_of, level_means
from cimsim.backends.torch.held import Held
from cimsim.backends.torch.order import Order, stored_together
from cimsim.backends.torch.packed import cell_grid, row_places
from cimsim.backends.torch.programming import Integers, Writer
from cimsim.backends.torch.sending import constant
from cimsim.backends.torch.written import DeviceWriter, kernels_of

__all__ = ["Bytes", "write_bytes"]

_WEIGHTS = 1 << 23  # whose shares are there at a time


@dataclass(frozen=True)
class Bytes:
    """A matrix as it was written.

    Attributes:
        held: what products need beside its cells.
        weights: int8 [stored columns x digits, n_out, padded rows].
        units: int8 [digits, column blocks, padded rows], unit columns; None without.
    """

    held: Held
    weights: Tensor
    units: Tensor | None
    _fractions: _Fractions
    _number: int

    def mean_fraction(self) -> Tensor:
        """Return the mean conductance of its cells over g_max, float64 []."""
        return self._fractions.of_each[self._number]


def write_bytes(orders: Sequence[Order]) -> list[Bytes]:
    """Write matrices of one shape and tile.

    Args:
        orders: what each is written from, on a device.

    Raises:
        CimsimError: if a weight is not finite.
    """
    writer = orders[0].writer
    kernels, formats = kernels_of(writer, orders[0].device), writer.formats
    digits, bits = cell_grid(writer)
    integers = kernels.integers_of_several(stored_together(orders))
    keys = [order.writer.writing.cell_keys[0] for order in orders]
    weights = kernels.bytes_of(integers, keys, digits=digits, bits=bits)
    units: Sequence[Tensor | None] = [None] * len(orders)
    if formats.units:
        units = _units_of(kernels, orders, digits, bits, weights[0].shape[2])
    nothing = torch.empty((0, formats.columns), dtype=torch.float32, device=orders[0].device)
    fractions = _Fractions(writer, integers, weights, units, digits, 2.0**-bits)
    helds = [
        held_of(constants, nothing, 2.0**-bits, order.writer, order.adc_range)[0]
        for order, constants in zip(orders, constants_of(integers, formats), strict=True)
    ]
    found = enumerate(zip(helds, weights, units, strict=True))
    return [Bytes(held, cells, unit, fractions, i) for i, (held, cells, unit) in found]


def _units_of(
    kernels: DeviceWriter, orders: Sequence[Order], digits: int, bits: int, depth: int
) -> Sequence[Tensor]:
    """Return the bytes of unit columns, their rows among padded groups."""
    keys = [order.writer.writing.unit_keys[0] for order in orders]
    found = kernels.unit_columns(keys, digits=digits, bits=bits)
    formats = orders[0].writer.formats
    if depth == formats.n_in:
        return found.contiguous().unbind()
    padded = found.new_zeros((*found.shape[:3], depth))
    padded[..., row_places(formats, found.device)] = found
    return padded.unbind()


@dataclass(frozen=True)
class _Fractions:
    """Mean conductances of the cells of matrices, found when the first is asked for.

    Attributes:
        writer: the tile.
        integers: of the matrices.
        weights: bytes of each.
        units: the same of unit columns, or None.
        digits: bytes of a cell.
        grid: their unit in levels.
    """

    writer: Writer
    integers: Integers
    weights: Sequence[Tensor]
    units: Sequence[Tensor | None]
    digits: int
    grid: float

    @cached_property
    def of_each(self) -> Tensor:
        """Mean conductances over g_max, float64 [matrices].

        Of pairs whose difference alone is stored, that which the law of cells gives their levels.
        """
        formats, tables = self.writer.formats, self.writer.tables
        if formats.analog_difference:
            return self._of_pairs()
        device = self.integers.q.device
        place, cells = 256.0 ** torch.arange(self.digits, device=device), 0
        total = torch.zeros(len(self.weights), dtype=torch.float64, device=device)
        for several in (self.weights, self.units):
            some = [each for each in several if each is not None]
            if some:
                sums = torch.stack([each.sum((1, 2), dtype=torch.int64) for each in some]).double()
                total = total + (sums.reshape(len(some), -1, self.digits) * place).sum((1, 2))
                cells += formats.n_in * some[0].shape[0] // self.digits * some[0].shape[1]
        return (total * self.grid / cells + tables.base) / tables.to_levels

    def _of_pairs(self) -> Tensor:
        """Return what the law of cells gives the levels of pairs."""
        formats, q = self.writer.formats, self.integers.q
        magnitude, mean = np.abs(np.arange(256) - 128), np.array(level_means(self.writer.tables))
        slices = [
            mean[magnitude >> formats.cell_bits * s & formats.levels - 1]
            for s in range(formats.slices)
        ]
        share = (sum(slices) + formats.slices * mean[0]) / (2 * formats.slices)
        of_weights, step = constant(share, q.device), max(1, _WEIGHTS // formats.n_in)
        of_outputs = [
            of_weights[q[first : first + step].int() + 128].sum(1)
            for first in range(0, len(q), step)
        ]
        outputs = torch.cat(of_outputs).reshape(-1, formats.n_out)
        return outputs.sum(1) / (formats.n_in * formats.n_out)
