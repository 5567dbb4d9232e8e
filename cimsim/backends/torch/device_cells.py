"""A matrix written into cells on a device: what `cimsim.mac` would leave there, as tensors.

Cells have the bits of `cimsim.mac.program` (`written.DeviceWriter`; plain torch on a CPU), on the
grid of `cimsim.mac.grid`, and what folds them follows `cimsim.mac.folded` equation by equation.
The mean conductance is that of the law, not of the draws.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from cimsim.backends.torch import plain
from cimsim.backends.torch.held import Held, HeldFolded
from cimsim.backends.torch.normals import column_normals
from cimsim.backends.torch.programming import (
    Integers,
    Writer,
    integers_of,
    levels_of,
    signs_of,
    unit_coefficients,
    unit_levels,
)
from cimsim.backends.torch.sending import constant, sent
from cimsim.backends.torch.verdicts import Written
from cimsim.config import Tile
from cimsim.elementary import whole_log2
from cimsim.mac import AdcRange, Writing
from cimsim.mac.adc import code_bounds, fresh_variance, step_of
from cimsim.mac.cells import CellTables
from cimsim.mac.converters import converters_of
from cimsim.mac.curves import curve_of, is_straight
from cimsim.mac.formats import Formats
from cimsim.mac.grid import cell_bounds
from cimsim.mac.inputs import static_scale
from cimsim.mac.moments import level_moments
from cimsim.mac.noise import fresh_noise
from cimsim.mac.program import Cells, read_variance
from cimsim.mac.writing import matrix_words

__all__ = [
    "DeviceCells",
    "constants_of",
    "held_of",
    "level_means",
    "levels_of_cells",
    "writes_on_device",
]

_CLIP_LIMIT, _PROBES, _ERROR_LIMIT = 1e-3, 64, 0.1  # of `cimsim.mac.folded`
_ONE_PIECE_BITS = 24  # of float32


def writes_on_device(tile: Tile, writing: Writing, n_in: int, n_out: int) -> Writer | None:
    """Return the writer of a matrix, None if `cimsim.mac` alone writes cells of its kind."""
    if tile.crossbar.kind == "digital" or tile.device.drift_compensation == "global":
        return None
    writer = Writer.if_served(tile, writing, n_in, n_out)
    if writer is None:
        return None
    drawn, power = read_variance(tile, writer.formats, writer.tables, writing.temperature_c)
    return None if power or (drawn and writer.formats.units) else writer


@dataclass(frozen=True)
class DeviceCells:
    """One copy of a matrix as it was written.

    Attributes:
        held: for products.
        integers: W_q.
        writer: what wrote it.
        adc_range: range of its converters.
        variance: of a read of a cell at g_max in levels^2.
        mean_fraction: mean conductance of its cells over g_max.
        faithful: which folded forms of its tile were found faithful.
    """

    held: Held
    integers: Integers
    writer: Writer
    adc_range: AdcRange
    variance: float
    mean_fraction: float
    faithful: dict[Written, bool]

    @classmethod
    def write(
        cls,
        weight: Tensor,
        writer: Writer,
        adc_range: AdcRange,
        faithful: dict[Written, bool],
    ) -> DeviceCells:
        """Write weights [n_out, n_in]; `faithful` is what is known of folded forms."""
        integers, values = levels_of_cells(weight, writer)
        mean = _mean_fraction(integers, values, writer)
        values, grid = _on_grid(values, writer.formats)
        constants = constants_of(integers, writer.formats)[0]
        held, variance = held_of(constants, values, grid, writer, adc_range)
        return cls(held, integers, writer, adc_range, variance, mean, faithful)

    def folded(self) -> HeldFolded | None:
        """Return the folded form, None where it is not faithful to the detailed one."""
        sums = int(self.integers.q.sum()), float(self.held.column_scale.sum())
        key = (self.writer.writing, self.adc_range, *sums)
        if key not in self.faithful:
            found = self._checked()
            self.faithful[key] = found is not None
            return found
        return self.fold() if self.faithful[key] else None

    def _checked(self) -> HeldFolded | None:
        """Return the folded form if its errors are those of the detailed one."""
        tile, tables = self.writer.tile, self.writer.tables
        rate = 0.0 if tile.adc.range.kind == "full" else self.adc_range.clip_rate
        bends = tile.adc.inl_lsb > 0.0 or not is_straight(tile.adc)
        if bends or rate is None or rate > _CLIP_LIMIT:
            return None
        folded = self.fold()
        exact = tables.ideal and self.held.step_levels == 1.0
        faithful = (exact and not self.held.draws) or self._errs_alike(folded)
        return folded if faithful else None

    def fold(self) -> HeldFolded:
        """Return effective weights and the variance of an output's error."""
        held, tile, tables = self.held, self.writer.tile, self.writer.tables
        formats, weight = held.formats, held.column_weight
        stored, n_out = weight.numel(), formats.n_out
        columns = stored * n_out
        values = held.values.double() * held.grid
        zero = torch.zeros(formats.columns, dtype=torch.float64, device=values.device)
        constant, rounding = torch.zeros_like(zero[:n_out]), torch.zeros_like(zero[:n_out])
        effective = torch.empty((formats.n_in, n_out), dtype=torch.float64, device=values.device)
        planes = held.plane_weight
        for g, group in enumerate(formats.groups):
            rows = values[group.start : group.stop]
            if held.errors is not None:
                gain, offset, _ = held.errors[group.row_block]
                rows = rows * gain.double()
                offset = offset.clamp(*held.bounds)  # shorted bit lines clip
                zero = (offset * held.step_levels * float(planes.sum())).double()  # in float32
            share = weight[:, None].expand(stored, n_out)
            if held.signs is not None:
                share = share * held.signs[g]
            part = (rows[:, :columns].reshape(-1, stored, n_out) * share).sum(1)
            constant += (zero[:columns].reshape(stored, n_out) * share).sum(0)
            rounding += weight.square().sum()
            if formats.units:
                unit, counts = columns + held.block_of_output, held.unit_coefficient[g]
                part += rows[:, unit] * counts
                constant += zero[unit] * counts
                rounding += counts.square()
            effective[group.start : group.stop] = part
        lossless = tables.ideal and held.step_levels == 1.0
        per_code = fresh_variance(tile) + (0.0 if lossless else 1.0 / 12.0)
        variance = rounding * float(planes.square().sum()) * per_code * held.step_levels**2
        values, grid = _exact_grid(effective, formats)
        return HeldFolded(values, grid, constant, variance, self._read_noise())

    def _read_noise(self) -> Tensor | None:
        """Return the variance of read noise a squared input, float64 [n_in, n_out]."""
        held, formats, tables = self.held, self.held.formats, self.writer.tables
        if self.variance == 0.0:
            return None
        stored, n_out = held.column_weight.numel(), formats.n_out
        squares = torch.full_like(held.values, self.variance, dtype=torch.float64)
        if self.writer.tile.device.read_noise.scaling == "constant":
            squares *= 2.0 if formats.analog_difference else 1.0
        else:
            conductance = (held.values.double() * held.grid + tables.base).clamp(min=0.0)
            squares = conductance * (self.variance / tables.to_levels)
        shape = (formats.n_in, stored, n_out)
        table = (squares.reshape(shape) * held.column_weight.square()[:, None]).sum(1)
        greatest = float(table.max())
        if greatest <= 0.0:
            return table
        unit = 2.0 ** (whole_log2(greatest) - 20)
        return torch.round(table / unit) * unit

    def _errs_alike(self, folded: HeldFolded) -> bool:
        """Compare the error of both forms on random tokens at a fixed address."""
        from cimsim.backends.torch.folded import FoldedTile  # noqa: PLC0415 - it imports `held`

        held, formats = self.held, self.held.formats
        device = held.values.device
        place = torch.arange(_PROBES, device=device)
        none = torch.zeros_like(place)
        x = column_normals(formats.n_in, (place, none, none), (0, _PROBES))
        scale, matrix = 3.0 / formats.input_max, self.writer.writing.matrix
        q, _ = plain.whole_inputs(x, formats.input_bits, scale, matrix)
        clean = torch.matmul(q.double(), self.integers.q.double().T) * held.column_scale.double()
        total, tokens, key = plain.Total(held), (place, place), (0, _PROBES)
        for g, (sums, variance) in enumerate(plain.sums_of_groups(q, held)):
            noise = None
            if variance is not None:
                z = plain.addressed_normals(held, g, tokens, key)
                noise = variance.sqrt() * z.to(variance.dtype)
            total.add(g, plain.codes_of(held, g, sums, noise))
        ones = torch.ones(_PROBES, dtype=torch.float32, device=device)
        detailed = plain.finish(total, q, ones, held)
        found = FoldedTile((held, folded)).product(q, ones, tokens, key)
        errors = [float((out.double() - clean).square().mean()) for out in (detailed, found)]
        limit = _ERROR_LIMIT + 3.0 / np.sqrt(clean.numel())
        return bool(abs(errors[1] - errors[0]) <= limit * errors[0])


@dataclass(frozen=True)
class Constants:
    """What integers of a matrix make of its outputs; some of `Held`, which says what each is.

    Attributes:
        scale: float32 [n_out].
        coefficient: float64 [n_out].
        shift_share: float64 [n_out].
        signs: float64 [groups, stored columns, n_out], None without complements.
        units: float64 [groups, n_out], without unit columns [0, n_out].
    """

    scale: Tensor
    coefficient: Tensor
    shift_share: Tensor
    signs: Tensor | None
    units: Tensor


def constants_of(integers: Integers, formats: Formats) -> list[Constants]:
    """Return the constants of matrices of one shape whose outputs stand one after another."""
    scale = integers.scale.reshape(-1, formats.n_out)
    q = integers.q.reshape(*scale.shape, formats.n_in)
    coefficient, signs = -integers.offset.double().reshape(scale.shape), None
    units = coefficient.new_zeros((len(scale), 0, formats.n_out))
    if integers.flip is not None:
        flip = integers.flip.reshape(len(scale), *integers.flip.shape[-3:])
        signs, units = signs_of(flip), unit_coefficients(flip, formats)
        coefficient = torch.zeros_like(coefficient)
    shift = formats.input_shift * q.sum(2, dtype=torch.int64).double()
    each = (t.unbind() for t in (scale, coefficient, shift, units))
    several = [Constants(s, c, h, None, u) for s, c, h, u in zip(*each, strict=True)]
    if signs is None:
        return several
    return [replace(c, signs=own) for c, own in zip(several, signs.unbind(), strict=True)]


def held_of(
    constants: Constants, values: Tensor, grid: float, writer: Writer, adc_range: AdcRange
) -> tuple[Held, float]:
    """Return what products need of a matrix, and the variance of a read at g_max in levels^2.

    Args:
        constants: of the matrix.
        values: what its columns hold in units of `grid`, [n_in, columns]; no rows where cells are
            kept otherwise.
        grid: a unit in levels.
        writer: the tile, and which copy.
        adc_range: of its converters.
    """
    tile, formats, tables = writer.tile, writer.formats, writer.tables
    variance, _ = read_variance(tile, formats, tables, writer.writing.temperature_c)
    converters = converters_of(tile, formats, writer.writing)
    nothing = np.zeros((1, 1), dtype=np.float32)
    cells = Cells(nothing, grid, None, 0.0, tables, variance, 0.0, None, converters)
    step = step_of(tile, formats, adc_range)
    noise = fresh_noise(tile, formats, cells, step)
    device, curve, errors = values.device, curve_of(tile.adc), None
    if converters is not None:
        blocks = range(len(formats.tiling.row_blocks))
        errors = sent(np.stack([converters.of(b) for b in blocks]), device)
    held = Held(
        tile=tile,
        formats=formats,
        words=matrix_words(writer.writing.matrix),
        values=values,
        squares=None,
        grid=grid,
        step_levels=step,
        bounds=code_bounds(formats, tile.adc.bits),
        noise=noise,
        draws=variance > 0.0 or noise.adc_variance > 0.0,
        errors=errors,
        curve=sent(curve, device) if curve.size else None,
        plane_weight=constant(formats.plane_weight, device),
        column_weight=constant(formats.column_weight(), device),
        signs=constants.signs,
        gain=None,
        unit_gain=None,
        unit_coefficient=constants.units,
        block_of_output=constant(formats.tiling.block_of_output, device),
        coefficient=constants.coefficient,
        shift_share=constants.shift_share,
        column_scale=constants.scale,
        input_scale=static_scale(tile, adc_range),
    )
    return held, variance


def levels_of_cells(weight: Tensor, writer: Writer) -> tuple[Integers, Tensor]:
    """Return integers of weights [n_out, n_in], and what columns hold, [n_in, columns]."""
    if weight.is_cuda:
        from cimsim.backends.torch.written import kernels_of  # noqa: PLC0415 - Triton

        kernels = kernels_of(writer, weight.device)
        integers = kernels.integers(weight)
        keys = [writer.writing.cell_keys[0]]
        levels = kernels.levels_of_several(integers, keys)[0]
    else:
        integers = integers_of(weight, writer)
        levels = levels_of(integers, writer)
    values = levels.permute(2, 0, 1).reshape(weight.shape[1], -1)
    if writer.formats.units:
        values = torch.cat([values, unit_levels(writer, weight.device).T], 1)
    return integers, values


def _on_grid(values: Tensor, formats: Formats) -> tuple[Tensor, float]:
    """Round levels [n_in, columns] to the grid of `cimsim.mac.grid.on_grid`, in its units."""
    greatest = np.array([[float(values.abs().max())]], dtype=np.float32)
    finest, coarsest = cell_bounds(greatest, formats.cell_bits)
    sums = [values[g.start : g.stop].abs().sum(0, dtype=torch.float64) for g in formats.groups]
    bound = float(torch.stack(sums).max()) * formats.max_code
    rounding = 0.5 * formats.rows_at_once * formats.max_code
    bits = finest
    if bound > 0.0 and rounding < 2.0 ** (_ONE_PIECE_BITS - 1):
        bits = min(finest, whole_log2((2.0**_ONE_PIECE_BITS - rounding) / bound))
    if rounding >= 2.0 ** (_ONE_PIECE_BITS - 1) or bits < coarsest:
        values = values.double()
        bits = finest if bound == 0.0 else min(finest, whole_log2((2.0**53 - rounding) / bound))
    return torch.round(values * 2.0**bits), 2.0**-bits


def _exact_grid(effective: Tensor, formats: Formats) -> tuple[Tensor, float]:
    """Round to the finest grid on which every sum is exact in float64."""
    code = formats.input_max + abs(formats.input_shift)
    bound = float(effective.abs().sum(0).max()) * code
    room = 2.0**52 - 0.5 * formats.n_in * code
    bits = 0 if bound == 0.0 else whole_log2(room / bound)
    return torch.round(effective * 2.0**bits), 2.0**-bits


def _mean_fraction(integers: Integers, values: Tensor, writer: Writer) -> float:
    """Return the mean conductance of cells over g_max that their law gives these levels.

    With complements that of the cells as they were written: each column is one of single cells.
    """
    formats, tables = writer.formats, writer.tables
    if formats.units:
        return float((values.double().mean() + tables.base) / tables.to_levels)
    q = integers.q.to(torch.int32)
    sides = [q.clamp(min=0), (-q).clamp(min=0)] if formats.pair else [q + integers.offset[:, None]]
    mean = torch.tensor(level_means(tables), dtype=torch.float64, device=q.device)
    total = 0.0
    for side in sides:
        for s in range(formats.slices):
            level = side >> (formats.cell_bits * s) & formats.levels - 1
            total += float(mean[level].sum())
    return total / (q.numel() * formats.slices * len(sides))


@dataclass(frozen=True)
class _Law:
    """The tables of cells that decide their mean, as something that can be remembered."""

    tables: CellTables
    key: tuple[bytes, ...]

    @classmethod
    def of(cls, tables: CellTables) -> _Law:
        return cls(tables, tuple(t.tobytes() for t in (tables.target, tables.bias, tables.sigma)))

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Law) and self.key == other.key


def level_means(tables: CellTables) -> tuple[float, ...]:
    """Return the mean conductance over g_max of cells at each level."""
    return _means_of(_Law.of(tables))


@lru_cache(maxsize=16)
def _means_of(law: _Law) -> tuple[float, ...]:
    tables = law.tables
    if not (tables.sigma.any() or tables.bias.any()):
        return tuple(float(t) for t in tables.target)
    mean, _ = level_moments(tables)
    return tuple(float(m) for m in (mean + tables.base) / tables.to_levels)
