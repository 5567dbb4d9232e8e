"""Writing of cells on a device: weights to integers, levels, noisy cells, bytes of the kernel.

Device models whose cells err when they are written, each by its level or as a whole weight, in
every encoding, ISAAC's complements and unit columns included. The rest (verified writes, drift, 1/f
noise, stuck cells, wires, another temperature) is written by `cimsim.mac` and refused here by name.

`exact` draws the errors that `cimsim.mac` draws, in its order of operations, and puts cells on its
grid; the greatest cell, found while they are written, says whether the grid is the finest that any
cells have, and else the column sums do. `fast` draws other errors of the same law in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cimsim.backends.torch.later import Later
from cimsim.backends.torch.normals import column_normals
from cimsim.backends.torch.sending import constant
from cimsim.config import Tile
from cimsim.errors import CimsimError
from cimsim.mac.cells import CellTables, cell_tables
from cimsim.mac.formats import Formats, formats_of
from cimsim.mac.quantize import greatest_integer
from cimsim.mac.writing import WRITE, Writing

__all__ = [
    "Integers",
    "Writer",
    "complements_of",
    "integers_of",
    "joined_complements",
    "levels_of",
    "offset_of",
    "scale_of_columns",
    "signs_of",
    "unit_coefficients",
    "unit_levels",
]

_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Integers:
    """A quantised matrix.

    Attributes:
        q: int8 [n_out, n_in], W_q.
        scale: float32 [n_out], weight of one LSB.
        offset: int32 [n_out], added before slicing.
        flip: int8 [groups, slices, n_out], 1 where ISAAC's encoding stores a column as its
            complement; None with other encodings.
    """

    q: Tensor
    scale: Tensor
    offset: Tensor
    flip: Tensor | None = None


@dataclass(frozen=True)
class Writer:
    """One act of programming a matrix of some shape on a tile.

    Attributes:
        tile: the tile.
        writing: which copy, how old and how warm.
        formats: of the matrix.
        tables: of its cells.
        shared: what all writers of the shape share: kernels and their tables, by device.
        later: looks at whether weights are finite.
    """

    tile: Tile
    writing: Writing
    formats: Formats
    tables: CellTables
    shared: dict[torch.device, Any] = field(default_factory=dict, compare=False, repr=False)
    later: Later = field(default_factory=Later, compare=False, repr=False)

    @classmethod
    def of(cls, tile: Tile, writing: Writing, n_in: int, n_out: int) -> Writer:
        """Return the writer of a matrix.

        Raises:
            CimsimError: if the device does not write such cells; it names what.
        """
        writer = cls._of(tile, writing, n_in, n_out)
        for problem, key, value in _refusals(tile, writer.formats, writer.tables):
            raise CimsimError(
                f"writing on a device does not do {problem}", key=key, value=value,
                hint="write with cimsim.mac.program_matrix",
            )  # fmt: skip
        return writer

    @classmethod
    def if_served(cls, tile: Tile, writing: Writing, n_in: int, n_out: int) -> Writer | None:
        """Return the writer of a matrix, None if the device does not write such cells."""
        writer = cls._of(tile, writing, n_in, n_out)
        return None if any(_refusals(tile, writer.formats, writer.tables)) else writer

    @classmethod
    def _of(cls, tile: Tile, writing: Writing, n_in: int, n_out: int) -> Writer:
        formats = formats_of(writing.matrix, n_in, n_out, tile)
        age_s = tile.device.age_s if writing.age_s is None else writing.age_s
        tables = cell_tables(tile, formats.slices, age_s, writing.temperature_c)
        return cls(tile, writing, formats, tables)


def scale_of(greatest: Tensor, tile: Tile, later: Later | None = None) -> Tensor:
    """Return the weight of one LSB from the greatest magnitude of each output, float32 [n_out].

    Raises:
        CimsimError: if a weight is not finite.
    """
    if tile.weight.scale == "per_matrix":
        greatest = greatest.amax().expand(greatest.shape).contiguous()
    return scale_of_columns(greatest, tile, later)


def scale_of_columns(greatest: Tensor, tile: Tile, later: Later | None = None) -> Tensor:
    """Return the weight of one LSB from the greatest magnitude that shares it, float32 [n].

    Args:
        greatest: float32 [n], NaN where a weight is not a number.
        tile: the tile.
        later: looks at whether weights are finite; None does at once.

    Raises:
        CimsimError: if a weight is not finite.
    """
    (later or Later()).ask([greatest.sum(dtype=torch.float64)], _refuse_infinite)
    scale = greatest / torch.full_like(greatest, greatest_integer(tile.weight.bits))
    return torch.where(scale >= _TINY, scale, 1.0)


def _refuse_infinite(found: Sequence[float]) -> None:
    if not np.isfinite(found[0]):
        raise CimsimError("a weight is not a finite number")


def offset_of(q: Tensor, writer: Writer) -> Tensor:
    """Return what is added to integers [n_out, n_in] before slicing, int32 [n_out]."""
    if writer.formats.encoding in {"offset", "isaac"}:
        return torch.full_like(q[:, 0], 0, dtype=torch.int32) + (1 << writer.tile.weight.bits - 1)
    if writer.formats.encoding == "center":
        return -q.amin(1).int()
    return torch.zeros_like(q[:, 0], dtype=torch.int32)


def integers_of(weight: Tensor, writer: Writer) -> Integers:
    """Return W_q = clip(round_half_even(W / scale)) of weights [n_out, n_in], in plain torch."""
    scale = scale_of(weight.float().abs().amax(1), writer.tile, writer.later)
    top = greatest_integer(writer.tile.weight.bits)
    q = torch.round(weight.float() / scale[:, None]).clamp(-top, top).to(torch.int8)
    return Integers(q, scale, offset_of(q, writer), complements_of(q[None], writer.formats)[0])


def complements_of(q: Tensor, formats: Formats) -> list[Tensor | None]:
    """Return which columns of matrices [matrices, n_out, n_in] are complements, of each `flip`.

    As `cimsim.mac.write.flip_columns`: levels of a row group that sum to more than half of what
    they can.
    """
    if formats.encoding != "isaac":
        return [None] * len(q)
    stored = q.to(torch.int16) + (1 << formats.cell_bits * formats.slices - 1)
    rows = constant(np.array([group.stop - group.start for group in formats.groups]), q.device)
    found = []
    for s in range(formats.slices):
        level = (stored >> formats.cell_bits * s & formats.levels - 1).to(torch.int8)
        sums = _sums_of_groups(level, formats)
        found.append(2 * sums > rows * formats.top_level)
    return list(torch.stack(found, 1).permute(0, 3, 1, 2).to(torch.int8).contiguous())


def _sums_of_groups(level: Tensor, formats: Formats) -> Tensor:
    """Return sums over the rows of each group, int32 [.., groups], of [.., n_in]."""
    rows, groups = formats.rows_at_once, formats.groups
    if formats.n_in == rows * len(groups):
        by_group = level.reshape(*level.shape[:-1], len(groups), rows)
        return by_group.sum(-1, dtype=torch.int32)
    parts = [level[..., g.start : g.stop].sum(-1, dtype=torch.int32) for g in groups]
    return torch.stack(parts, -1)


def joined_complements(flips: Sequence[Tensor | None]) -> Tensor | None:
    """Return complements of several matrices as one tensor, None where there are none."""
    some = [flip for flip in flips if flip is not None]
    return torch.stack(some) if some else None


def signs_of(flip: Tensor) -> Tensor:
    """Return what the codes of columns are multiplied by, float64: -1 of complements, else 1."""
    return 1.0 - 2.0 * flip.double()


def unit_coefficients(flip: Tensor, formats: Formats) -> Tensor:
    """Return what a level on the unit column counts in each output, float64 [.., groups, n_out]."""
    weight = constant(formats.column_weight(), flip.device)
    share = torch.einsum("...so,s->...o", flip.double(), weight) * formats.top_level
    offset = float(1 << formats.cell_bits * formats.slices - 1)
    return (share - offset) / formats.unit_level


def unit_levels(writer: Writer, device: torch.device) -> Tensor:
    """Return what the cells of unit columns hold in levels, float32 [column blocks, n_in]."""
    formats, tables = writer.formats, writer.tables
    block = torch.arange(formats.units, device=device)
    words = (block, torch.full_like(block, WRITE), torch.zeros_like(block))
    z = column_normals(formats.n_in, words, writer.writing.unit_keys[0]).double()
    target, bias, sigma = (
        float(t[formats.unit_level]) for t in (tables.target, tables.bias, tables.sigma)
    )
    held = (target + (bias + sigma * z)).clamp(min=0.0) * tables.to_levels - tables.base
    return held.float()


def levels_of(integers: Integers, writer: Writer) -> Tensor:
    """Return what columns hold in levels, float32 [stored columns, n_out, n_in], in plain torch.

    The bits of `cimsim.mac.write`; the twin of the kernel `write_cells`.
    """
    formats, tables = writer.formats, writer.tables
    device, sides = integers.q.device, 2 if formats.pair else 1
    q = integers.q.long().T  # rows first, as cells are addressed
    cells = formats.n_out * formats.slices * sides
    row = torch.arange(formats.n_in, device=device)
    words = (row, torch.full_like(row, WRITE), torch.zeros_like(row))
    z = column_normals(cells, words, writer.writing.cell_keys[0]).double()
    z = z.reshape(formats.n_in, formats.n_out, formats.slices, sides)
    place = formats.cell_bits * torch.arange(formats.slices, device=device)
    if formats.pair:
        stored = torch.stack([q.clamp(min=0), (-q).clamp(min=0)], dim=2)
    else:
        stored = (q + integers.offset)[:, :, None]
    level = stored[:, :, None] >> place[:, None] & formats.levels - 1
    if integers.flip is not None:
        rows = [group.stop - group.start for group in formats.groups]
        flip = integers.flip.repeat_interleave(torch.tensor(rows, device=device), 0)
        level = torch.where(flip.transpose(1, 2)[..., None] > 0, formats.top_level - level, level)
    target, bias, sigma = (
        torch.tensor(t, device=device)[level] for t in (tables.target, tables.bias, tables.sigma)
    )
    error = bias + sigma * z
    held = (target + error).clamp(min=0.0) * tables.to_levels - tables.base
    if tables.whole_errs:
        shift = torch.tensor(tables.weight_shift, device=device)
        spread = torch.tensor(tables.weight_sigma, device=device)[q.abs()] * z[:, :, 0, 0]
        whole = spread + shift[q + tables.weight_shift.size // 2]
        minus = (q < 0) & formats.pair
        held[:, :, 0, 0] += torch.where(minus, 0.0, whole)
        held[:, :, 0, -1] -= torch.where(minus, whole, 0.0)
    if formats.analog_difference:
        held = held[..., :1] - held[..., 1:]
    return held.permute(2, 3, 1, 0).reshape(-1, formats.n_out, formats.n_in).float()


def moments_of_weights(writer: Writer) -> tuple[Tensor, Tensor]:
    """Return mean and sigma of a weight's error by W_q, in LSB, float32 [2 top + 1] each.

    Of independent cells; that cells do not fall below zero conductance is left out.
    """
    formats, tables = writer.formats, writer.tables
    top = greatest_integer(writer.tile.weight.bits)
    weight = np.arange(-top, top + 1)
    mean, variance = np.zeros(weight.size), np.zeros(weight.size)
    if tables.whole_errs:
        mean = mean + tables.weight_shift
        variance = variance + tables.weight_sigma[np.abs(weight)] ** 2
    offset = 1 << (writer.tile.weight.bits - 1)
    stored = [np.maximum(weight, 0), np.maximum(-weight, 0)] if formats.pair else [weight + offset]
    for side, whole in enumerate(stored):
        for s in range(formats.slices):
            level = whole >> (formats.cell_bits * s) & (formats.levels - 1)
            counts = (-1.0 if side else 1.0) * tables.to_levels * 2.0 ** (formats.cell_bits * s)
            mean += counts * tables.bias[level]
            variance += (counts * tables.sigma[level]) ** 2
    return (
        torch.tensor(mean, dtype=torch.float32),
        torch.tensor(np.sqrt(variance), dtype=torch.float32),
    )


def _refusals(
    tile: Tile, formats: Formats, tables: CellTables
) -> Iterator[tuple[str, str, object]]:
    """Yield what writing on a device does not do, the knob that asks for it and its value."""
    device = tile.device
    if formats.encoding == "digital":
        yield "this encoding", "tile.crossbar.kind", formats.encoding
    if formats.encoding == "isaac" and 1 << formats.cell_bits * formats.slices != (
        1 << tile.weight.bits
    ):
        yield (
            "complements of slices that a weight does not fill",
            "tile.weight.bits",
            (tile.weight.bits),
        )
    if formats.merged:
        yield "slices that are merged before the converter", "tile.pe.merge", tile.pe.merge.kind
    if not 2 <= tile.weight.bits <= 8:
        yield "weights of one bit, or of more than 8", "tile.weight.bits", tile.weight.bits
    if 16 % formats.cells_per_weight:
        cells = formats.cells_per_weight
        yield f"{cells} cells per weight", "tile.device.cell_bits", device.cell_bits
    if np.isfinite(tables.tolerance):
        yield "verified writes", "tile.device.verify.tolerance", device.verify.tolerance
    if tables.log_time > 0.0 or tables.flicker.any():
        yield "drift", "tile.device.age_s", device.age_s
    if tables.stuck_low + tables.stuck_high > 0:
        yield "stuck cells", "tile.device.stuck_low", device.stuck_low
    if tables.temperature_factor != 1.0:
        yield (
            "cells at another temperature", "tile.device.temperature.conductance_per_c",
            device.temperature.conductance_per_c,
        )  # fmt: skip
    if tile.crossbar.wire_ohm > 0.0:
        yield "voltage drop along wires", "tile.crossbar.wire_ohm", tile.crossbar.wire_ohm
