"""Matrices of one shape written and folded together: few launches for all experts of a layer.

Cells have the errors of `cimsim.mac.program` at their addresses (`write_cells`; plain torch on a
CPU), so that the chip is the one that the detailed tiles are. What is left out are the roundings
to the grids of cells and of folded sums, which are finer than the bf16 that weights are kept in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from cimsim.backends.torch import plain
from cimsim.backends.torch.device_cells import level_means
from cimsim.backends.torch.normals import column_normals
from cimsim.backends.torch.order import Order, is_lossless, stored_together
from cimsim.backends.torch.programming import (
    Integers,
    Writer,
    integers_of,
    joined_complements,
    levels_of,
    offset_of,
)
from cimsim.backends.torch.sending import constant, sent
from cimsim.backends.torch.stacked_complements import StackedComplements
from cimsim.mac import AdcRange
from cimsim.mac.adc import code_bounds, fresh_variance, step_of
from cimsim.mac.converters import converters_err
from cimsim.mac.curves import is_straight
from cimsim.mac.formats import Formats
from cimsim.mac.program import read_variance
from cimsim.mac.writing import matrix_words

__all__ = ["FoldedStack", "serves", "write_stack"]

_CLIP_LIMIT, _PROBES, _ERROR_LIMIT = 1e-3, 64, 0.1  # of `cimsim.mac.folded`
_CHUNK_BYTES = 1 << 29  # of levels at a time


def serves(writer: Writer, adc_range: AdcRange) -> bool:
    """Whether a matrix can be folded here: nothing drawn at a read but the error of conversions.

    Converters without errors of their own, of a straight curve; inputs of 2 to 8 bits with a scale
    of each token's own.
    """
    tile, adc = writer.tile, writer.tile.adc
    drawn, power = read_variance(tile, writer.formats, writer.tables, writer.writing.temperature_c)
    rate = 0.0 if adc.range.kind == "full" else adc_range.clip_rate
    errs = converters_err(tile, writer.writing.temperature_c) or not is_straight(adc)
    return not (
        drawn
        or power
        or errs
        or fresh_variance(tile)
        or rate is None
        or rate > _CLIP_LIMIT
        or tile.input.scale == "static"
        or not 2 <= writer.formats.input_bits <= 8
    )


@dataclass(frozen=True)
class FoldedStack:
    """Folded forms of matrices of one shape: y = (X w^T + bias + spread z) scale of the token.

    Attributes:
        weight: bf16 [matrices, n_out, n_in], effective weights with the value of an LSB.
        bias: float32 [matrices, n_out], of shifted inputs.
        spread: float32 [matrices, n_out], sigma of the conversions' rounding.
        noisy: whether any of them is above 0.
        words: what stands for each matrix in the key of its noise.
        level: mean conductance of the cells of each over g_max.
        faithful: whether each errs as its detailed form does.
        input_max: greatest code of an input.
    """

    weight: Tensor
    bias: Tensor
    spread: Tensor
    noisy: bool
    words: tuple[tuple[int, int, int], ...]
    level: tuple[float, ...]
    faithful: tuple[bool, ...]
    input_max: int

    def above(self, other: FoldedStack, weight: Tensor) -> FoldedStack:
        """Return matrices with those of another stack below them; `weight` holds both already."""
        return FoldedStack(
            weight,
            torch.cat([self.bias, other.bias], 1),
            torch.cat([self.spread, other.spread], 1),
            self.noisy or other.noisy,
            self.words,
            self.level,
            self.faithful,
            self.input_max,
        )


def write_stack(
    orders: Sequence[Order],
    into: Tensor | None = None,
    known: Mapping[Order, tuple[bool, float]] | None = None,
) -> FoldedStack:
    """Write matrices of one shape and tile and fold them.

    Args:
        orders: what each is written from.
        into: bf16 [matrices, n_out, n_in] to fill; it may be a part of a larger tensor.
        known: whether a matrix is faithful, and its level, as found when it was first written.

    Raises:
        CimsimError: if a weight is not finite.
    """
    writer = orders[0].writer
    formats = writer.formats
    device = orders[0].device
    shape = (len(orders), formats.n_out, formats.n_in)
    weight = torch.empty(shape, dtype=torch.bfloat16, device=device) if into is None else into
    bias = torch.empty(shape[:2], dtype=torch.float32, device=device)
    spread = torch.empty_like(bias)
    levels: list[float] = []
    faithful: list[bool] = []
    each = 4 * formats.stored_columns * formats.n_in * formats.n_out
    step = max(1, _CHUNK_BYTES // each)
    for first in range(0, len(orders), step):
        some = slice(first, first + step)
        found = _StackPart(orders[some])
        weight[some], bias[some], spread[some] = found.weight, found.bias, found.spread
        if known is None or not all(order in known for order in orders[some]):
            told = torch.stack([found.mean_fraction(), found.errs_alike().double()])  # one wait
            level, alike = told.tolist()
            levels += level
            faithful += map(bool, alike)
        else:
            levels += [known[order][1] for order in orders[some]]
            faithful += [known[order][0] for order in orders[some]]
    return FoldedStack(
        weight,
        bias,
        spread,
        not all(is_lossless(o) for o in orders),
        tuple(matrix_words(o.writer.writing.matrix) for o in orders),
        tuple(levels),
        tuple(faithful),
        formats.input_max,
    )


class _StackPart:
    """Some of the matrices, with what their cells hold.

    Attributes:
        weight: float32 [matrices, n_out, n_in], effective, with the value of an LSB.
        bias: float32 [matrices, n_out].
        spread: float32 [matrices, n_out].
    """

    def __init__(self, orders: Sequence[Order]) -> None:
        self._writer = writer = orders[0].writer
        formats, tile = writer.formats, writer.tile
        stored = stored_together(orders)
        self._integers, self._levels = _write(stored, orders)
        del stored
        device = self._levels.device
        steps = [step_of(tile, formats, o.adc_range) for o in orders]
        self._steps = sent(steps, device, torch.float32)
        self._columns = constant(formats.column_weight().astype(np.float32), device)
        self._scale = self._integers.scale.reshape(len(orders), formats.n_out)
        self._offset = self._integers.offset.reshape(self._scale.shape)
        self._complements = StackedComplements.of(orders, self._integers, device)
        effective = self._effective()
        # Of shifted inputs a part is the same for every token.
        shared = effective.sum(2, dtype=torch.float64) - self._q().sum(2, dtype=torch.int64)
        self.bias = (formats.input_shift * shared * self._scale.double()).float()
        self.weight = effective.mul_(self._scale[..., None])
        planes = float(np.square(formats.plane_weight).sum())
        rounding = torch.full_like(self._scale, float(np.square(formats.column_weight()).sum()))
        rounding *= len(formats.groups)
        if self._complements is not None:
            rounding += self._complements.counts.square().sum(1)
        lossless = np.array([is_lossless(o) for o in orders])
        rounded = sent(np.where(lossless, 0.0, 1.0 / 12.0), device, torch.float32)
        sigma = (rounding * (planes * rounded)[:, None]).sqrt() * self._steps[:, None]
        self.spread = sigma * self._scale

    def _effective(self) -> Tensor:
        """Return what inputs count in outputs in LSB, float32 [matrices, n_out, n_in]."""
        found = self._complements
        if found is None:
            # Added one after another: no bit depends on which matrices are written together.
            first, *rest = self._writer.formats.column_weight().tolist()
            effective: Tensor = self._levels[:, 0] * first
            for s, weight in enumerate(rest, start=1):
                effective.add_(self._levels[:, s], alpha=weight)
            return effective.sub_(self._offset[..., None])
        formats = self._writer.formats
        effective = self._levels.new_empty((len(found.counts), formats.n_out, formats.n_in))
        for groups, rows in _alike(formats):
            count = groups.stop - groups.start
            into = _split(effective[..., rows], count)
            weight = self._signed(slice(None), groups).permute(2, 0, 3, 1)[..., None]
            units = _split(found.units[:, found.block_of_output, rows], count)
            torch.mul(units, found.counts[:, groups].transpose(1, 2)[..., None], out=into)
            for s in range(len(self._columns)):
                into += _split(self._levels[:, s, :, rows], count) * weight[s]
        return effective

    def _signed(self, some: slice, groups: slice) -> Tensor:
        """Return what codes of some matrices count.

        They are [matrices or 1, groups, stored columns, n_out or 1].
        """
        if self._complements is None:
            return self._columns[None, None, :, None]
        return self._complements.signs[some, groups] * self._columns[:, None]

    def _q(self) -> Tensor:
        """Return W_q, int8 [matrices, n_out, n_in]."""
        return self._integers.q.reshape(-1, self._writer.formats.n_out, self._writer.formats.n_in)

    def mean_fraction(self) -> Tensor:
        """Return the mean conductance that the law of cells gives these levels, [matrices]."""
        formats, q = self._writer.formats, self._q()
        if self._complements is not None:
            return self._complements.mean_fraction(self._levels, self._writer)
        mean = sent(level_means(self._writer.tables), q.device)
        if formats.encoding == "center":
            held, sides = q.int() + self._offset[..., None], 1
            table = torch.arange(1 << self._writer.tile.weight.bits, device=q.device)
        else:
            held, sides = q.int() + 128, 2 if formats.pair else 1
            table = torch.arange(-128, 128, device=q.device)
            if not formats.pair:
                table = table + self._offset[0, 0]
        parts = [table.clamp(min=0), (-table).clamp(min=0)] if formats.pair else [table]
        total = torch.zeros(table.numel(), dtype=torch.float64, device=q.device)
        for part in parts:
            for s in range(formats.slices):
                total += mean[part.clamp(min=0) >> (formats.cell_bits * s) & formats.levels - 1]
        share = total.float() / (formats.slices * sides)
        return share[held].mean((1, 2), dtype=torch.float64)

    def errs_alike(self) -> Tensor:
        """Return whether folded errors are those of conversions, bool [matrices].

        As `cimsim.mac.folded`: mean square errors on random tokens at a fixed address.
        """
        formats, writer = self._writer.formats, self._writer
        device = self._levels.device
        x = _probes(formats.n_in, device, fresh=False)
        scale, matrix = 3.0 / formats.input_max, writer.writing.matrix
        q, _ = plain.whole_inputs(x, formats.input_bits, scale, matrix)
        detailed = self._detailed(q)
        z = _probes(formats.n_out, device, fresh=True)
        folded = torch.matmul(q.float(), self.weight.transpose(1, 2)) + self.bias[:, None]
        folded = folded + self.spread[:, None] * z
        clean = torch.matmul(q.float(), self._q().float().transpose(1, 2))
        clean = clean * self._scale[:, None]
        first, second = ((y - clean).square().mean((1, 2)) for y in (detailed, folded))
        limit = _ERROR_LIMIT + 3.0 / np.sqrt(_PROBES * formats.n_out)
        alike: Tensor = (second - first).abs() <= limit * first
        return alike | ((self._steps == 1.0) & bool(writer.tables.ideal))

    def _detailed(self, q: Tensor) -> Tensor:
        """Return what conversions make of integers [n, n_in], float32 [matrices, n, n_out]."""
        formats = self._writer.formats
        planes = plain.cut_planes(q, formats).float()
        each = 4 * planes[..., 0].numel() * formats.stored_columns * formats.n_out
        step = max(1, _CHUNK_BYTES // (each * len(formats.groups)))
        starts = range(0, len(self._scale), step)
        parts = [self._codes(planes, slice(first, first + step)) for first in starts]
        y = torch.cat(parts) * self._steps[:, None, None]
        if self._complements is None:
            y = y - self._offset[:, None] * (q + formats.input_shift).sum(1).float()[None, :, None]
        y = y - formats.input_shift * self._q().sum(2, dtype=torch.int64)[:, None]
        return y * self._scale[:, None]

    def _codes(self, planes: Tensor, some: slice) -> Tensor:
        """Return the weighed sums of codes of some matrices, float32 [matrices, n, n_out].

        Row groups of a size are multiplied together: one by one they would cost the host
        milliseconds a matrix.

        Args:
            planes: float32 [n, planes, n_in], DAC codes.
            some: which.
        """
        formats, found, sums = self._writer.formats, self._complements, []
        low, high = code_bounds(formats, self._writer.tile.adc.bits)
        steps = self._steps[some, None, None, None]

        def convert(fed: Tensor, cells: Tensor, step: Tensor) -> Tensor:
            return torch.matmul(fed, cells).div_(step).round_().clamp_(low, high)

        for groups, rows in _alike(formats):
            count = groups.stop - groups.start
            fed = _split(planes[..., rows].flatten(0, 1), count).transpose(0, 1)
            cells = _split(self._levels[some, ..., rows], count).permute(0, 1, 3, 4, 2)
            counted = self._signed(some, groups).transpose(1, 2)[:, :, :, None]
            sums.append(convert(fed, cells, steps[..., None]).mul_(counted).sum((1, 2)))
            if found is not None:
                cells = _split(found.units[some, :, rows], count).permute(0, 2, 3, 1)
                codes = convert(fed, cells, steps)[..., found.block_of_output]
                sums.append(codes.mul_(found.counts[some, groups, None]).sum(1))
        total = sums[0] if len(sums) == 1 else torch.stack(sums).sum(0)
        weight = constant(formats.plane_weight.astype(np.float32), planes.device)
        return torch.matmul(weight, total.reshape(len(total), *planes.shape[:2], -1))


def _split(x: Tensor, count: int) -> Tensor:
    """Return [.., n] as [.., count, n / count], a view of it."""
    return x.view(*x.shape[:-1], count, -1)


def _alike(formats: Formats) -> Iterator[tuple[slice, slice]]:
    """Yield row groups that follow each other and are of one size, and their rows."""
    first = 0
    for size, several in groupby(formats.groups, lambda group: group.stop - group.start):
        last = first + len(list(several))
        start = formats.groups[first].start
        yield slice(first, last), slice(start, start + size * (last - first))
        first = last


@lru_cache(maxsize=32)
def _probes(n: int, device: torch.device, *, fresh: bool) -> Tensor:
    """Return the random tokens of the comparison, or the noise of their outputs, [probes, n]."""
    place = torch.arange(_PROBES, device=device)
    none = torch.zeros_like(place)
    words = (none, place, place) if fresh else (place, none, none)
    return column_normals(n, words, (0, _PROBES))


def _write(stored: Tensor, orders: Sequence[Order]) -> tuple[Integers, Tensor]:
    """Return integers of all rows of [matrices, n_out, n_in], and levels [.., stored, .., n_in]."""
    if stored.is_cuda:
        from cimsim.backends.torch.written import kernels_of  # noqa: PLC0415 - Triton

        kernels = kernels_of(orders[0].writer, stored.device)
        keys = [order.writer.writing.cell_keys[0] for order in orders]
        integers = kernels.integers_of_several(stored)
        return integers, kernels.levels_of_several(integers, keys)
    found = [integers_of(w, o.writer) for w, o in zip(stored, orders, strict=True)]
    levels = [levels_of(i, o.writer) for i, o in zip(found, orders, strict=True)]
    joined = Integers(
        torch.cat([i.q for i in found]),
        torch.cat([i.scale for i in found]),
        torch.cat([offset_of(i.q, o.writer) for i, o in zip(found, orders, strict=True)]),
        joined_complements([i.flip for i in found]),
    )
    return joined, torch.stack(levels)
