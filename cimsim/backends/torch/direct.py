"""Matrices of `fast` written on a CUDA device as the bytes that the detailed product reads.

One kernel draws the errors of `cimsim.mac` and stores them on the grid that cells of the tile are
expected to have; nothing else of a matrix's size is made in between, so that chips that do not fit
the device are written again in every pass. The grid is that of `packed.coarse` up to a digit: one
byte where a quarter of a level or finer fits into it, else two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from cimsim.backends.torch.device_cells import held_of, level_means
from cimsim.backends.torch.held import Held
from cimsim.backends.torch.packed import cell_grid, row_places
from cimsim.backends.torch.programming import Integers, Writer
from cimsim.backends.torch.sending import constant
from cimsim.backends.torch.written import DeviceWriter, kernels_of
from cimsim.mac import AdcRange

__all__ = ["Bytes", "write_bytes"]

_WEIGHTS = 1 << 23  # whose shares are there at a time


@dataclass(frozen=True)
class Bytes:
    """A matrix as it was written.

    Attributes:
        held: what products need beside its cells.
        weights: int8 [stored columns x digits, n_out, padded rows].
        units: int8 [digits, column blocks, padded rows], unit columns; None without.
        mean_fraction: gives the mean conductance of its cells over g_max, float64 [].
    """

    held: Held
    weights: Tensor
    units: Tensor | None
    mean_fraction: Callable[[], Tensor]


def write_bytes(weight: Tensor, writer: Writer, adc_range: AdcRange) -> Bytes:
    """Write weights [n_out, n_in].

    Args:
        weight: on the device.
        writer: the tile, and which copy.
        adc_range: range of its converters.

    Raises:
        CimsimError: if a weight is not finite.
    """
    kernels, formats = kernels_of(writer, weight.device), writer.formats
    digits, bits = cell_grid(writer)
    integers = kernels.integers(weight)
    weights = kernels.bytes_of(integers, writer.writing.cell_keys[0], digits=digits, bits=bits)
    units = None
    if formats.units:
        units = _padded(kernels, writer, digits, bits, weights.shape[2])
    nothing = torch.empty((0, formats.columns), dtype=torch.float32, device=weight.device)
    held, _ = held_of(integers, nothing, 2.0**-bits, writer, adc_range)
    mean = partial(_mean_fraction, integers, weights, units, writer, digits, 2.0**-bits)
    return Bytes(held, weights, units, mean)


def _padded(kernels: DeviceWriter, writer: Writer, digits: int, bits: int, depth: int) -> Tensor:
    """Return the bytes of unit columns, their rows among padded groups."""
    keys = [writer.writing.unit_keys[0]]
    found = kernels.unit_columns(keys, digits=digits, bits=bits)[0]
    if depth == writer.formats.n_in:
        return found.contiguous()
    padded = found.new_zeros((*found.shape[:2], depth))
    padded[..., row_places(writer.formats, found.device)] = found
    return padded


def _mean_fraction(
    integers: Integers,
    weights: Tensor,
    units: Tensor | None,
    writer: Writer,
    digits: int,
    grid: float,
) -> Tensor:
    """Return the mean conductance of cells over g_max, float64 [].

    Of pairs whose difference alone is stored, that which the law of cells gives their levels.
    """
    formats, tables = writer.formats, writer.tables
    if not formats.analog_difference:
        place = 256.0 ** torch.arange(digits, device=weights.device)
        total, cells = weights.new_zeros((), dtype=torch.float64), 0
        for each in (weights,) if units is None else (weights, units):
            sums = each.sum((1, 2), dtype=torch.int64).double().reshape(-1, digits)
            total = total + (sums * place).sum()
            cells += formats.n_in * each.shape[0] // digits * each.shape[1]
        return (total * grid / cells + tables.base) / tables.to_levels
    magnitude, mean = np.abs(np.arange(256) - 128), np.array(level_means(tables))
    slices = [
        mean[magnitude >> formats.cell_bits * s & formats.levels - 1] for s in range(formats.slices)
    ]
    share = (sum(slices) + formats.slices * mean[0]) / (2 * formats.slices)
    of_weights, step = constant(share, weights.device), max(1, _WEIGHTS // formats.n_in)
    total = of_weights.new_zeros(())
    for first in range(0, formats.n_out, step):
        total = total + of_weights[integers.q[first : first + step].int() + 128].sum()
    return total / integers.q.numel()
