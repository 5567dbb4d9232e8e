"""Cells and inputs as the kernels read them: bytes, row groups padded to whole steps.

A column sum is a sum of products of bytes. Cells that are wider are cut into digits of base 256,
the lowest first, each in -128 to 127; sums of digits recombine exactly. Rows of a group lie
together and are padded with zeros to a power of two, or to whole steps of 128.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from cimsim.backends.torch.held import Held
from cimsim.backends.torch.programming import Writer
from cimsim.errors import CimsimError
from cimsim.mac.formats import Formats

__all__ = [
    "cell_bytes",
    "cell_grid",
    "coarse",
    "column_order",
    "padded_rows",
    "row_places",
    "short_places",
]

_STEP_ROWS = 128
_MOST_DIGITS = 2
_SPREAD = 6.0  # sigma above the highest level that a grid of one byte holds ...
_WIDE_SPREAD = 8.0  # ... and one of two, beyond which nothing is drawn
_BYTE, _TWO_BYTES = 127.0, 127.0 * 257.0
_COARSEST_BYTE_BITS = 2  # a quarter of a level
_MOST_BITS = 12
_COARSEST_BYTE = 0.25  # levels: coarser cells take two bytes


def padded_rows(formats: Formats) -> int:
    """Return rows of a padded group."""
    rows = formats.rows_at_once
    if rows > _STEP_ROWS:
        return -(-rows // _STEP_ROWS) * _STEP_ROWS
    return max(32, 1 << (rows - 1).bit_length())


def coarse(held: Held) -> Held:
    """Return a matrix with cells on the grid of `fast`: of one byte, or of two.

    One byte where its grid is at most a quarter of a level; the column sum's unit and the
    variance of one unit follow. A matrix whose cells were written as bytes is on its grid.
    """
    if not held.values.numel():
        return held
    greatest = float(held.values.abs().max())
    shift = 0
    while round(greatest / 2**shift) > 127:
        shift += 1
    if held.grid * 2**shift > _COARSEST_BYTE:
        shift = 0
        while round(greatest / 2**shift) > 127 * 257:
            shift += 1
    values = torch.round(held.values / float(2**shift)).float()
    noise = replace(held.noise, slope=held.noise.slope * 2**shift)
    return replace(held, values=values, grid=held.grid * 2**shift, noise=noise)


def cell_grid(writer: Writer) -> tuple[int, int]:
    """Return how many bytes a cell takes and the bits of its grid below one level."""
    tables = writer.tables
    sigma = float(tables.sigma.max()) * tables.to_levels + float(tables.weight_sigma.max())
    top = writer.formats.top_level + float(np.abs(tables.weight_shift).max(initial=0.0))
    top += float(np.abs(tables.bias).max()) * tables.to_levels
    bits = int(np.floor(np.log2(_BYTE / (top + _SPREAD * sigma))))
    if bits >= _COARSEST_BYTE_BITS:
        return 1, min(bits, _MOST_BITS)
    wide = int(np.floor(np.log2(_TWO_BYTES / (top + _WIDE_SPREAD * sigma))))
    return 2, min(wide, _MOST_BITS)


def column_order(held: Held) -> Tensor:
    """Return which output stands at each place, so that four neighbours share a Philox call.

    `cimsim.rng` gives word w of counter b of each 64 columns to column 16 w + b; here they stand
    at place 4 b + w.
    """
    place = torch.arange(held.formats.n_out, device=held.values.device)
    return place // 64 * 64 + place % 4 * 16 + place % 64 // 4


def row_places(formats: Formats, device: torch.device | str = "cpu") -> Tensor:
    """Return where each row stands among the padded groups, int64 [n_in]; not to be changed."""
    rows = tuple(g.stop - g.start for g in formats.groups)
    return _places(rows, padded_rows(formats), torch.device(device))


def short_places(formats: Formats, device: torch.device) -> Tensor:
    """Return the same as a kernel reads it, int32 [n_in]."""
    rows = tuple(g.stop - g.start for g in formats.groups)
    return _short_places(rows, padded_rows(formats), torch.device(device))


@lru_cache(maxsize=64)
def _short_places(rows: tuple[int, ...], room: int, device: torch.device) -> Tensor:
    return _places(rows, room, device).int()


@lru_cache(maxsize=64)
def _places(rows: tuple[int, ...], room: int, device: torch.device) -> Tensor:
    found = torch.cat([g * room + torch.arange(n) for g, n in enumerate(rows)])
    return found.to(device, non_blocking=True)


def cell_bytes(held: Held, order: Tensor | None) -> Tensor:
    """Return cells int8 [stored columns x digits, n_out, groups x padded rows], lowest digit first.

    Raises:
        CimsimError: if cells are wider than two bytes.
    """
    formats = held.formats
    values = held.values.long().T.reshape(-1, formats.n_out, formats.n_in)
    values = values if order is None else values[:, order]
    digits = []
    while True:
        low = (values + 128 & 255) - 128
        digits.append(low.to(torch.int8))
        values = (values - low) >> 8
        if not bool(values.any()):
            break
    if len(digits) > _MOST_DIGITS:
        raise CimsimError(
            f"cells of matrix {formats.tiling.matrix.id} lie on a grid of more than two bytes",
            value=len(digits),
            hint="use the plain kernel",
        )
    rows = torch.stack(digits, dim=1).flatten(0, 1)
    room = len(formats.groups) * padded_rows(formats)
    padded = rows.new_zeros((*rows.shape[:2], room))
    padded[..., row_places(formats, rows.device)] = rows
    return padded
