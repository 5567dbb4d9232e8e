"""What is found of a matrix without its errors on a device: converter ranges, exact integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cimsim.backends.torch import plain
from cimsim.backends.torch.device_cells import levels_of_cells, writes_on_device
from cimsim.backends.torch.held import HeldIdeal
from cimsim.backends.torch.programming import Writer, scale_of
from cimsim.backends.torch.sending import constant
from cimsim.config import Tile
from cimsim.config.device import IdealDevice
from cimsim.mac import AdcRange, Writing
from cimsim.mac.adc import full_range_levels
from cimsim.mac.calibrate import empty_counts, range_of_counts, spread_rows
from cimsim.mac.formats import formats_of
from cimsim.mac.inputs import static_scale
from cimsim.mac.least_error import is_lossless
from cimsim.mac.quantize import greatest_integer
from cimsim.workload.matrix import MatrixId

__all__ = ["ideal_on_device", "range_on_device"]

_APART = 16  # counts of one value
Known = dict[tuple[int, int], tuple[Tile, Writer | None]]
"""Writers of error-free cells by inputs and outputs, and the tile that they are for."""


def range_on_device(
    weight: Tensor, matrix: MatrixId, tile: Tile, inputs: Tensor, known: Known | None = None
) -> AdcRange | None:
    """Return the converter range of weights [n_out, n_in] on inputs [n, n_in].

    That of `cimsim.mac.calibrate_range`; None where cells are not written here, or inputs have
    one bit or a static scale.
    """
    if tile.input.bits == 1 or tile.input.scale != "per_token" or not len(inputs):
        return None
    writer = _error_free(tile, matrix, weight, {} if known is None else known)
    if writer is None:
        return None
    formats = writer.formats
    full = full_range_levels(formats)
    if tile.adc.range.kind in {"auto", "full"} and is_lossless(tile, formats):
        return AdcRange(full, None, 0.0)
    integers, values = levels_of_cells(weight, writer)
    rows = constant(spread_rows(len(inputs)), weight.device)
    q, _ = plain.whole_inputs(inputs[rows].float(), formats.input_bits, 0.0, matrix)
    planes, (empty, width) = plain.cut_planes(q, formats).double(), empty_counts(full)
    # Neighbouring columns count apart: most sums are of few values, whose count is one address.
    apart = _APART if weight.is_cuda else 1
    room = empty.size * torch.arange(values.shape[1], device=weight.device).remainder(apart)
    counts = torch.zeros(apart * empty.size, dtype=torch.int64, device=weight.device)
    one = torch.ones((), dtype=torch.int64, device=weight.device)
    for group in formats.groups:
        part = slice(group.start, group.stop)
        sums = torch.matmul(planes[:, :, part], values[part].double()).abs_().mul_(1.0 / width)
        bins = sums.round_().clamp_(max=empty.size - 1).long().add_(room)
        counts.scatter_add_(0, bins.flatten(), one.expand(bins.numel()))
    counts = counts.reshape(apart, -1).sum(0)
    signal = (q.double() @ integers.q.T.double()).square().mean()
    found = torch.cat([counts.double(), signal[None]]).cpu().numpy()
    whole, mean_square = found[:-1].astype(np.int64), float(found[-1])
    return range_of_counts(whole, width, tile, formats, mean_square, None)


def _error_free(tile: Tile, matrix: MatrixId, weight: Tensor, known: Known) -> Writer | None:
    """Return what writes a matrix into cells without errors; that of a shape is made once."""
    n_out, n_in = weight.shape
    if known.get((n_in, n_out), (None, None))[0] is not tile:
        exact = {"cell_bits": tile.device.cell_bits, "g_max_us": tile.device.g_max_us}
        crossbar = tile.crossbar.model_copy(update={"wire_ohm": 0.0})
        clean = tile.model_copy(
            update={"device": IdealDevice.model_validate(exact), "crossbar": crossbar}
        )
        writing = Writing(0, matrix, age_s=0.0)
        known[n_in, n_out] = tile, writes_on_device(clean, writing, n_in, n_out)
    writer = known[n_in, n_out][1]
    if writer is None:
        return None
    formats = formats_of(matrix, n_in, n_out, writer.tile)
    return replace(writer, writing=Writing(0, matrix, age_s=0.0), formats=formats)


def ideal_on_device(weight: Tensor, tile: Tile, matrix: MatrixId, adc_range: AdcRange) -> HeldIdeal:
    """Return exact integers of weights [n_out, n_in] of two bits or more (`cimsim.mac.ideal`)."""
    wide = weight.float()
    scale = scale_of(wide.abs().amax(1), tile)
    top = greatest_integer(tile.weight.bits)
    q = torch.round(wide / scale[:, None]).clamp(-top, top)
    magnitude = q.abs().sum(1, dtype=torch.float64)
    exact = float(magnitude.max()) * greatest_integer(tile.input.bits) <= 2.0**24
    return HeldIdeal(
        matrix=matrix,
        values=q.T.contiguous().to(torch.float32 if exact else torch.float64),
        scale=scale,
        input_bits=tile.input.bits,
        input_scale=static_scale(tile, adc_range),
        mean_fraction=float(magnitude.sum()) / q.numel() / top,
    )
