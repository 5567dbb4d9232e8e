"""The product in plain torch: slices, cycles and row groups with a conversion each.

Equation by equation as `cimsim.testing.slow_product`, on any device: what runs where no kernel is
asked for, and the twin of the kernels. Column sums are whole numbers and exact; every later
operation is one torch call, so that nothing is contracted.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from cimsim.backends.torch.held import Held
from cimsim.backends.torch.normals import column_normals
from cimsim.errors import CimsimError
from cimsim.mac.formats import FEED, Formats
from cimsim.mac.quantize import greatest_integer
from cimsim.rng import Key
from cimsim.workload.matrix import MatrixId

__all__ = [
    "Tokens",
    "Total",
    "addressed_normals",
    "codes_of",
    "cut_planes",
    "cycle_power",
    "driven_variance",
    "finish",
    "planes_of",
    "quantize_inputs",
    "sums_of_groups",
    "variance_of_outputs",
    "whole_inputs",
]

Tokens = tuple[Tensor, Tensor]  # sequence and position, int64 [n] each

_TINY = torch.finfo(torch.float32).tiny


def quantize_inputs(x: Tensor, held: Held) -> tuple[Tensor, Tensor]:
    """Return integers X int64 [n, n_in] and the scale of each token, as `whole_inputs`."""
    matrix = held.formats.tiling.matrix.id
    return whole_inputs(x, held.formats.input_bits, held.input_scale, matrix)


def whole_inputs(x: Tensor, bits: int, static: float, matrix: MatrixId) -> tuple[Tensor, Tensor]:
    """Return integers X int64 [n, n_in] and the scale of each token, float32 [n].

    X = clip(round_half_even(x / scale)); of one bit +-1 and mean|x| (`cimsim.mac.quantize`).

    Args:
        x: [n, n_in].
        bits: of X.
        static: scale of every token, 0 where each has its own.
        matrix: named in errors.

    Raises:
        CimsimError: if an input is not finite.
    """
    if not bool(torch.isfinite(x).all()):
        raise CimsimError(f"an input of matrix {matrix} is not finite")
    top, magnitude = greatest_integer(bits), x.abs()
    if bits == 1:  # one term after another, which torch only does on a CPU
        mean = magnitude.double().cpu().cumsum(1)[:, -1].to(x.device) / x.shape[1]
        own, least = mean.float(), 0.0
    else:
        # A divisor on the device: torch would multiply by the reciprocal of a number.
        own = magnitude.amax(1) / torch.full_like(x[:, 0], top)
        least = 1.0
    own = torch.where(own >= _TINY, own, least)
    scale = torch.full_like(own, static) if static > 0.0 else own
    if bits == 1:
        return torch.where(x >= 0.0, 1, -1), scale
    return torch.round(x / scale[:, None]).clamp(-top, top).long(), scale


def planes_of(q: Tensor, held: Held) -> Tensor:
    """Return DAC codes of integers [n, n_in], int64 [n, planes, n_in]."""
    return cut_planes(q, held.formats)


def cut_planes(q: Tensor, formats: Formats) -> Tensor:
    """Return DAC codes of integers [n, n_in], int64 [n, planes, n_in] (`cimsim.mac.formats`)."""
    mask, down = (1 << formats.dac_bits) - 1, int(formats.halved_inputs)
    shifted = q + formats.input_shift
    if formats.feed in {FEED["value"], FEED["shifted_value"]}:
        return (shifted >> down)[:, None]
    if formats.feed == FEED["two_phase"]:
        each = formats.planes // 2
        parts = [q.clamp(min=0), (-q).clamp(min=0)]
        cut = [p >> (formats.dac_bits * k) & mask for p in parts for k in range(each)]
    else:
        cut = [shifted >> (formats.dac_bits * k + down) & mask for k in range(formats.planes)]
    return torch.stack(cut, dim=1)


def cycle_power(q: Tensor, held: Held) -> Tensor:
    """Return sum_k (w_k code_k)^2 of integers over their cycles, int64 (`mac.feed.cycle_power`)."""
    formats = held.formats
    mask, value = (1 << formats.dac_bits) - 1, q.abs()
    if not formats.two_phase:
        value = (q + formats.input_shift) >> int(formats.halved_inputs)
    power = torch.zeros_like(value)
    for k in range(formats.cycles_of_a_sign):
        place = formats.dac_bits * k
        power += ((value >> place & mask) << place).square()
    return power


def _power_of(q: Tensor, planes: Tensor, held: Held) -> Tensor:
    """Return what fresh noise of cells weighs: squared codes, float64 [n, planes, n_in]."""
    if held.tile.pe.accumulate_cycles:
        return cycle_power(q, held).double()[:, None]
    return planes.double().square()


def driven_variance(q: Tensor, held: Held) -> Tensor:
    """Return the variance that all columns of a conversion share, float32 [n, groups, planes].

    In codes squared: of the converter, and of the cells of the driven rows where it does not
    depend on their level.
    """
    power = _power_of(q, planes_of(q, held), held)
    starts = [slice(group.start, group.stop) for group in held.formats.groups]
    rows = torch.stack([power[:, :, s].sum(2) for s in starts], dim=1)
    return (rows * held.noise.row_variance + held.noise.adc_variance).float()


def _variance(held: Held, g: int, sums: Tensor, power: Tensor, driven: Tensor) -> Tensor:
    """Return the variance of fresh noise of conversions [n, planes, columns] in codes squared."""
    noise = held.noise
    variance = sums * _number(noise.slope, sums)
    if held.squares is not None:
        rows = slice(held.formats.groups[g].start, held.formats.groups[g].stop)
        second = torch.matmul(power[:, :, rows], held.squares[rows].double()).to(sums.dtype)
        variance = second * _number(noise.square_scale, sums) + variance
    return (variance + driven.to(sums.dtype)[..., None]).clamp(min=0.0)


def _number(value: float, like: Tensor) -> Tensor:
    """Return a number rounded to the type of a tensor, on its device."""
    return _rounded(value, like.dtype, like.device)


@lru_cache(maxsize=4096)
def _rounded(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.full((), value, dtype=dtype, device=device)


def sums_of_groups(q: Tensor, held: Held) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield column sums of each row group, and the variance of fresh noise, in order.

    Args:
        q: int64 [n, n_in].
        held: the matrix.

    Yields:
        Sums, float [n, planes, columns], whole multiples of the grid; variance in codes squared,
        None where a conversion draws nothing.
    """
    f = held.values.dtype
    planes = planes_of(q, held)
    power = _power_of(q, planes, held)
    driven = driven_variance(q, held) if held.draws else None
    # Whole numbers: float64 holds them whatever a device's flags make of float32 products.
    wide = torch.float64 if q.is_cuda else f
    planes = planes.to(wide)
    for g, group in enumerate(held.formats.groups):
        rows = slice(group.start, group.stop)
        sums = torch.matmul(planes[:, :, rows], held.values[rows].to(wide)).to(f)
        yield sums, None if driven is None else _variance(held, g, sums, power, driven[:, g])


def codes_of(
    held: Held, g: int, sums: Tensor, noise: Tensor | None, clipped: Tensor | None = None
) -> Tensor:
    """Return the ADC codes of column sums of a row group, with what noise adds to them.

    Args:
        held: the matrix.
        g: row group.
        sums: [n, planes, columns] in grid units.
        noise: the same shape in codes, or None.
        clipped: int64 [], to which conversions outside the range are added; or None.
    """
    low, high = (_number(b, sums) for b in held.bounds)
    v = sums * _number(held.grid / held.step_levels, sums)
    if held.curve is not None:
        v = _bent(v, low, high, held.curve)
    if held.errors is not None:
        gain, offset, bow = held.errors[held.formats.groups[g].row_block].to(sums.dtype)
        u = (v - low) * (_number(1.0, sums) / (high - low))
        bent = bow * (u * (1.0 - u))
        v = v * gain + offset + bent
    if noise is not None:
        v = v + noise
    rounded = torch.round(v)
    codes = torch.minimum(torch.maximum(rounded, low), high)
    if clipped is not None:
        clipped += (codes != rounded).sum()
    return codes


def _bent(v: Tensor, low: Tensor, high: Tensor, curve: Tensor) -> Tensor:
    """Return codes moved by the deviation of a transfer curve, linear between its points."""
    share = (torch.minimum(torch.maximum(v, low), high) - low) * (_number(1.0, v) / (high - low))
    place = share * _number(float(curve.numel() - 1), v)
    i = place.long().clamp(max=curve.numel() - 2)
    first, second = curve[i].to(v.dtype), curve[i + 1].to(v.dtype)
    return v + (first + (second - first) * (place - i.to(v.dtype)))


def addressed_normals(held: Held, g: int, tokens: Tokens, key: Key) -> Tensor:
    """Return the normals of the conversions of a row group, float32 [n, planes, columns]."""
    sequence, position = tokens
    plane = torch.arange(g * 64, g * 64 + held.formats.planes, device=position.device)[None, :]
    words = (plane, position[:, None], sequence[:, None])
    return column_normals(held.formats.columns, words, key)


class Total:
    """Codes, shifted and added over planes, stored columns and row groups.

    Attributes:
        codes: float64 [n, n_out], weighed.
        units: float64 [n, n_out], share of unit columns in levels.
    """

    def __init__(self, held: Held) -> None:
        self._held = held
        self.codes = self.units = torch.zeros((), dtype=torch.float64, device=held.values.device)

    def add(self, g: int, found: Tensor) -> None:
        """Add the codes of a row group, [n, planes, columns]."""
        held, formats = self._held, self._held.formats
        stored, block = held.column_weight.numel() * formats.n_out, formats.groups[g].row_block
        weighed = torch.einsum("nkc,k->nc", found.double(), held.plane_weight)
        part = weighed[:, :stored].reshape(-1, held.column_weight.numel(), formats.n_out)
        if held.signs is not None:
            part = part * held.signs[g]
        summed = torch.einsum("nsj,s->nj", part, held.column_weight)
        self.codes = self.codes + (summed if held.gain is None else summed * held.gain[block])
        if formats.units:
            units = weighed[:, stored:]
            units = units if held.unit_gain is None else units * held.unit_gain[block]
            share = units[:, held.block_of_output] * held.step_levels
            self.units = self.units + share * held.unit_coefficient[g]


def variance_of_outputs(held: Held, g: int, variance: Tensor) -> Tensor:
    """Return what the conversions of a row group add to an output's variance, codes squared."""
    formats = held.formats
    stored, block = held.column_weight.numel() * formats.n_out, formats.groups[g].row_block
    weighed = torch.einsum("nkc,k->nc", variance.double(), held.plane_weight.square())
    part = weighed[:, :stored].reshape(-1, held.column_weight.numel(), formats.n_out)
    summed = torch.einsum("nsj,s->nj", part, held.column_weight.square())
    if formats.units:
        units = weighed[:, stored:][:, held.block_of_output]
        summed = summed + units * held.unit_coefficient[g].square()
    return summed if held.gain is None else summed * held.gain[block].square()


def finish(total: Total, q: Tensor, scale: Tensor, held: Held) -> Tensor:
    """Return outputs float32 [n, n_out]: digital offset, then the scales (`mac.convert.finish`)."""
    fed = (q + held.formats.input_shift).sum(1).double()[:, None]
    y = total.codes * held.step_levels + held.coefficient * fed - held.shift_share + total.units
    return (y * (scale.double()[:, None] * held.column_scale.double())).float()
