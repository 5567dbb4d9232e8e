"""Writing of cells on a CUDA device through the Triton kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import triton
from torch import Tensor

from cimsim.backends.torch.normals import packed_table
from cimsim.backends.torch.packed import padded_rows, row_places
from cimsim.backends.torch.programming import (
    Integers,
    Writer,
    complements_of,
    joined_complements,
    moments_of_weights,
    offset_of,
    scale_of,
    scale_of_columns,
)
from cimsim.backends.torch.programming_kernel import (
    fold_weights,
    slice_weights,
    write_cells,
)
from cimsim.backends.torch.quantize_kernel import greatest_of_rows, quantize_weights
from cimsim.backends.torch.sending import sent, signed_words
from cimsim.errors import CimsimError
from cimsim.mac.grid import cell_bounds
from cimsim.mac.quantize import greatest_integer
from cimsim.rng import Key, derive_key

__all__ = ["DeviceWriter", "Written", "kernels_of"]

_PURPOSE_FAST = 34
_BLOCK = 1024  # weights of a program
_QUARTER = 512  # counters of a program that folds; part of the address of its errors
_ROWS = 128  # of a program that writes exact cells
_BYTE = 127.0
_SPREAD = 6.0  # sigma beyond which cells of `fast` are clipped


@dataclass(frozen=True)
class Written:
    """Cells of one matrix as the fused product reads them.

    Attributes:
        bytes: int8 [stored columns x digits, n_out, groups x padded rows], lowest digit first.
        grid: a unit in levels.
        scale: float32 [n_out], weight of one LSB.
    """

    bytes: Tensor
    grid: float
    scale: Tensor


class DeviceWriter:
    """Writes matrices of one shape on one tile.

    Args:
        writer: the tile, and which copy; keys all errors.
        device: a CUDA device.
        native: with instructions of the device, which Triton's interpreter lacks.
    """

    def __init__(
        self, writer: Writer, device: torch.device | str = "cuda", *, native: bool = True
    ) -> None:
        formats, tables = writer.formats, writer.tables
        self._writer, self._device, self._native = writer, torch.device(device), native
        self._place = row_places(formats, device).int()
        self._depth = len(formats.groups) * padded_rows(formats)
        levels = np.array([tables.to_levels, tables.base])
        of_cells = (tables.target, tables.bias, tables.sigma, levels)
        of_weights = (tables.weight_sigma, tables.weight_shift)
        self._wide = [torch.tensor(t, device=device) for t in (*of_cells, *of_weights)]
        in_levels = [t * tables.to_levels for t in self._wide[1:3]]
        narrow = [self._wide[0], *in_levels, *self._wide[3:]]
        self._narrow = [t.float() for t in narrow]
        self._moments = [t.to(device) for t in moments_of_weights(writer)]
        mean, sigma = self._moments
        self._one_law = not bool(mean.any()) and bool((sigma == sigma[0]).all())
        self._uniform = bool((tables.sigma == tables.sigma[0]).all())
        self._normals = packed_table(self._device)
        self._top = greatest_integer(writer.tile.weight.bits)
        exact = writer.writing.cell_keys[0]
        self._keys = self._key_words([exact])
        self._fast_key = signed_words(derive_key(exact[0] | exact[1] << 32, _PURPOSE_FAST))

    def _check(self, weight: Tensor) -> Tensor:
        """Return weights as the kernels read them.

        Raises:
            CimsimError: if they are not those of this writer.
        """
        formats = self._writer.formats
        if weight.shape != (formats.n_out, formats.n_in):
            raise CimsimError(
                "weights do not fit the writer", value=tuple(weight.shape),
                allowed=f"[{formats.n_out}, {formats.n_in}]",
            )  # fmt: skip
        return weight.contiguous()

    def scale(self, weight: Tensor) -> Tensor:
        """Return the weight of one LSB, float32 [n_out].

        Raises:
            CimsimError: if a weight is not finite.
        """
        n_out, n_in = weight.shape
        greatest = torch.empty(n_out, dtype=torch.float32, device=weight.device)
        greatest_of_rows[(n_out,)](weight, greatest, n_in, BLOCK=_BLOCK)
        return scale_of(greatest, self._writer.tile, self._writer.later)

    def integers(self, weight: Tensor) -> Integers:
        """Return W_q of weights [n_out, n_in]: the bits of `programming.integers_of`."""
        weight = self._check(weight)
        n_out, n_in = weight.shape
        scale, q = self.scale(weight), torch.empty_like(weight, dtype=torch.int8)
        grid = (n_out, triton.cdiv(n_in, _BLOCK))
        quantize_weights[grid](weight, scale, q, n_in, float(self._top), BLOCK=_BLOCK)
        flip = complements_of(q[None], self._writer.formats)[0]
        return Integers(q, scale, offset_of(q, self._writer), flip)

    def bytes_of(
        self, integers: Integers, keys: Sequence[Key], *, digits: int, bits: int
    ) -> list[Tensor]:
        """Return cells in grid units, int8 [stored columns x digits, n_out, padded rows] of each.

        Each matrix has memory of its own, which is free when its cells are let go.

        Args:
            integers: of the matrices, as from `integers_of_several`.
            keys: of the write of each.
            digits: bytes of a cell, lowest first; what one byte does not hold is clipped.
            bits: of the grid below one level.
        """
        n_out, found = self._writer.formats.n_out, []
        # Each pair of words is where a launch of one matrix has it, at a multiple of 16 bytes.
        words = sent([[*signed_words(key), 0, 0] for key in keys], self._device, torch.int32)
        for i in range(len(keys)):
            rows, flip = slice(i * n_out, (i + 1) * n_out), integers.flip
            one = Integers(
                integers.q[rows], integers.scale[rows], integers.offset[rows],
                None if flip is None else flip[i],
            )  # fmt: skip
            found.append(self._room(digits))
            self._start(
                one, found[-1], words[i : i + 1], digits=digits, bits=bits, floor=float("inf")
            )
        return found

    def unit_columns(self, keys: Sequence[Key], *, digits: int, bits: int) -> Tensor:
        """Return cells of unit columns, [matrices, digits, column blocks, n_in].

        In levels, float32 with one digit place, if `digits` is 0; else bytes of grid units.
        """
        formats, device = self._writer.formats, self._device
        blocks, several = formats.units, len(keys)
        level = torch.full((several, formats.n_in, blocks), formats.unit_level, device=device)
        none = torch.zeros((several, formats.n_in), dtype=torch.int32, device=device)
        dtype = torch.int8 if digits else torch.float32
        shape = (several, max(1, digits), formats.n_in, blocks)
        out = torch.empty(shape, dtype=dtype, device=device)
        place = torch.arange(blocks, dtype=torch.int32, device=device)
        write_cells[(16 * triton.cdiv(formats.n_in, 64), triton.cdiv(blocks, _ROWS), several)](
            level.to(torch.int8), none, place, none, out, none, *self._wide, self._normals,
            self._key_words(keys), formats.n_in, blocks, blocks, 2.0**bits, float("inf"),
            SLICES=1, CELL_BITS=formats.cell_bits, SIDES=1, APART=False, DIGITS=digits, WHOLE=0,
            BIAS=bool(self._writer.tables.bias.any()), UNIFORM=self._uniform, ROOM=0, BK=_ROWS,
            num_warps=4, enable_fp_fusion=False,
        )  # fmt: skip
        return out.transpose(2, 3)

    def integers_of_several(self, weights: Tensor) -> Integers:
        """Return W_q of matrices [matrices, n_out, n_in], their outputs one after another.

        Complements are [matrices, groups, slices, n_out].

        Raises:
            CimsimError: if a weight is not finite.
        """
        several, n_out, n_in = weights.shape
        rows = several * n_out
        greatest = torch.empty(rows, dtype=torch.float32, device=weights.device)
        greatest_of_rows[(rows,)](weights, greatest, n_in, BLOCK=_BLOCK)
        if self._writer.tile.weight.scale == "per_matrix":
            each = greatest.view(several, n_out)
            greatest = each.amax(1, keepdim=True).expand(several, n_out).reshape(-1)
        scale = scale_of_columns(greatest, self._writer.tile, self._writer.later)
        q = torch.empty((rows, n_in), dtype=torch.int8, device=weights.device)
        grid = (rows, triton.cdiv(n_in, _BLOCK))
        quantize_weights[grid](weights, scale, q, n_in, float(self._top), BLOCK=_BLOCK)
        flips = complements_of(q.view(weights.shape), self._writer.formats)
        return Integers(q, scale, offset_of(q, self._writer), joined_complements(flips))

    def levels_of_several(self, integers: Integers, keys: Sequence[Key]) -> Tensor:
        """Return what columns of matrices hold, [matrices, stored columns, n_out, n_in]."""
        formats = self._writer.formats
        shape = (len(keys), formats.stored_columns, formats.n_out, self._depth)
        room = torch.empty if self._depth == formats.n_in else torch.zeros
        out = room(shape, dtype=torch.float32, device=self._device)
        self._start(integers, out, self._key_words(keys), digits=0, bits=0, floor=float("inf"))
        return out if self._depth == formats.n_in else out[..., self._place]

    def levels(self, integers: Integers) -> Tensor:
        """Return what columns hold in levels: the bits of `programming.levels_of`."""
        formats = self._writer.formats
        shape = (formats.stored_columns, formats.n_out, self._depth)
        out = torch.zeros(shape, dtype=torch.float32, device=self._device)
        self._write_exact(integers, out, digits=0, bits=0, floor=0.0)
        return out[..., self._place]

    def write(self, weight: Tensor) -> Written:
        """Write a matrix [n_out, n_in] into cells with the bits of `cimsim.mac`.

        Cells are written once, on the grid that they are expected to have, and again if their
        greatest level says another.

        Raises:
            CimsimError: if a weight is not finite, or the grid follows from the column sums of the
                actual cells, which are not found here.
        """
        integers, out, expected = self.integers(weight), self._room(2), self._expected()
        bits = self._finest(expected)
        # Where the grid is as fine as any, only cells beyond the expected ask for another.
        floor = expected if bits == self._finest(0.5) else 0.0
        found = self._write_exact(integers, out, digits=2, bits=bits, floor=floor)
        right = self._finest(found) if found > floor else bits
        if right != bits:
            self._write_exact(integers, out, digits=2, bits=right, floor=float("inf"))
        return Written(out, 2.0**-right, integers.scale)

    def write_fast(self, weight: Tensor) -> Written:
        """Write a matrix [n_out, n_in] into cells of the same law, one byte each.

        The grid is the finest that holds six sigma above the greatest level; cells beyond are
        clipped.

        Raises:
            CimsimError: if a weight is not finite.
        """
        formats, out, weight = self._writer.formats, self._room(1), self._check(weight)
        self._refuse_complements()
        if formats.encoding == "center":
            integers = self.integers(weight)
            scale, offset = integers.scale, integers.offset
        else:
            scale = self.scale(weight)
            offset = offset_of(scale[:, None], self._writer)
        bits = int(np.floor(np.log2(_BYTE / self._expected())))
        slice_weights[(triton.cdiv(formats.n_in, _BLOCK), formats.n_out)](
            weight, scale, offset, self._place, out, *self._narrow,
            formats.n_out, formats.n_in, self._depth, *self._fast_key, 2.0**bits, self._top,
            SLICES=formats.slices, CELL_BITS=formats.cell_bits, SIDES=2 if formats.pair else 1,
            APART=formats.stored_columns == 2 * formats.slices, WHOLE=self._whole(),
            BIAS=bool(self._writer.tables.bias.any()), UNIFORM=self._uniform,
            FILLS=formats.n_in == self._depth, NATIVE=self._native, BLOCK=_BLOCK, num_warps=4,
        )  # fmt: skip
        return Written(out, 2.0**-bits, scale)

    def fold(self, weight: Tensor) -> Tensor:
        """Return effective weights of `fast`: (W_q + error) scale, one normal a weight.

        The error has the mean and variance of the slices' together; rounding of conversions and
        read noise are not in it.

        Raises:
            CimsimError: if a weight is not finite.
        """
        weight = self._check(weight)
        self._refuse_complements()
        n_out, n_in = weight.shape
        mean, sigma = self._moments
        out = torch.empty_like(weight)
        fold_weights[(triton.cdiv(n_in, 4 * _QUARTER), n_out)](
            weight, self.scale(weight), sigma[self._top :].contiguous(), mean, out,
            n_in, *self._fast_key, self._top,
            UNIFORM=self._one_law, NATIVE=self._native, QUARTER=_QUARTER, num_warps=4,
        )  # fmt: skip
        return out

    def _refuse_complements(self) -> None:
        """Refuse ISAAC's encoding, whose complements `write_cells` alone knows.

        Raises:
            CimsimError: if it is asked for.
        """
        if self._writer.formats.units:
            raise CimsimError(
                "cells of the same law, but other errors, have no complements",
                key="tile.weight.encoding", value="isaac", hint="write exact cells",
            )  # fmt: skip

    def _whole(self) -> int:
        """Return the greatest |W_q| if whole weights err, else 0."""
        return self._writer.formats.weight_max if self._writer.tables.whole_errs else 0

    def _room(self, digits: int) -> Tensor:
        """Return room for the bytes of cells; zeros where padding is."""
        formats = self._writer.formats
        shape = (formats.stored_columns * digits, formats.n_out, self._depth)
        room = torch.empty if self._depth == formats.n_in else torch.zeros
        return room(shape, dtype=torch.int8, device=self._device)

    def _expected(self) -> float:
        """Return the greatest magnitude in levels that cells of a large matrix may reach."""
        tables = self._writer.tables
        spread = float(tables.sigma.max()) * tables.to_levels + float(tables.weight_sigma.max())
        return self._writer.formats.top_level + _SPREAD * spread

    def _finest(self, greatest: float) -> int:
        """Return the bits below one level of the grid of cells, from their greatest magnitude.

        Raises:
            CimsimError: if column sums of so many such cells could exceed 24 bits.
        """
        formats = self._writer.formats
        finest, _ = cell_bounds(np.full((1, 1), greatest, dtype=np.float32), formats.cell_bits)
        most = formats.rows_at_once * formats.max_code * (greatest + 0.5 * 2.0**-finest)
        if most * 2.0**finest > 2.0**24:
            raise CimsimError(
                "the grid of these cells follows from their column sums, which may exceed 24 bits",
                key="tile.crossbar.rows",
                value=formats.rows_at_once,
                hint="write with cimsim.mac.program_matrix",
            )
        return finest

    def _write_exact(
        self, integers: Integers, out: Tensor, *, digits: int, bits: int, floor: float
    ) -> float:
        """Start `write_cells`; return the greatest magnitude in levels if it is above `floor`."""
        found = self._start(integers, out, self._keys, digits=digits, bits=bits, floor=floor)
        return float(found.view(torch.float32))

    def _start(
        self, integers: Integers, out: Tensor, keys: Tensor, *, digits: int, bits: int, floor: float
    ) -> Tensor:
        """Start `write_cells` for one matrix a key; return the bits of the greatest magnitude."""
        formats = self._writer.formats
        greatest = torch.zeros(1, dtype=torch.int32, device=self._device)
        cells = formats.cells_per_weight
        chunks = triton.cdiv(formats.n_out * cells, 64)
        rows = triton.cdiv(formats.n_in, _ROWS)
        write_cells[(chunks * (16 // cells), rows, len(keys))](
            integers.q, integers.offset, self._place, integers.offset if integers.flip is None
            else integers.flip.contiguous(), out, greatest, *self._wide, self._normals,
            keys, formats.n_out, formats.n_in, self._depth, 2.0**bits, floor,
            SLICES=formats.slices, CELL_BITS=formats.cell_bits, SIDES=2 if formats.pair else 1,
            APART=formats.stored_columns == 2 * formats.slices, DIGITS=digits,
            WHOLE=self._whole(), BIAS=bool(self._writer.tables.bias.any()), UNIFORM=self._uniform,
            ROOM=0 if integers.flip is None else padded_rows(formats), BK=_ROWS, num_warps=4,
            enable_fp_fusion=False,
        )  # fmt: skip
        return greatest

    def _key_words(self, keys: Sequence[Key]) -> Tensor:
        """Return keys as a kernel reads them, int32 [keys, 2]."""
        return sent([signed_words(key) for key in keys], self._device, torch.int32)


def kernels_of(writer: Writer, device: torch.device) -> DeviceWriter:
    """Return the kernels that write matrices of a shape; their tables are made once."""
    if device not in writer.shared:
        writer.shared[device] = DeviceWriter(writer, device)
    kernels: DeviceWriter = writer.shared[device]
    return kernels
