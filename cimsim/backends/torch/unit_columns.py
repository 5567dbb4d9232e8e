"""Unit columns of ISAAC's encoding on a CUDA device: converted as a matrix of their own.

Each crossbar measures the sum of what drives its rows by a column of equal cells; its codes make
up for what complements and the offset of weights leave out (`cimsim.mac.columns`). One column in
some hundred is one of these, so that their codes are stored and summed by library products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cimsim.backends.torch.group import Spans
from cimsim.backends.torch.held import Held
from cimsim.backends.torch.sending import constant

__all__ = ["UnitCounts", "as_matrix", "shares", "units_of_weights"]


def as_matrix(held: Held) -> Held:
    """Return the unit columns of a matrix as one of a single slice, an output a column block."""
    formats, stored = held.formats, held.column_weight.numel() * held.formats.n_out
    matrix = replace(formats.tiling.matrix, n_out=formats.units)
    tiling = replace(formats.tiling, matrix=matrix, column_blocks=(formats.units,))
    one, none = held.column_scale.new_ones(formats.units), held.coefficient.new_zeros(formats.units)
    return replace(
        held,
        formats=replace(formats, tiling=tiling, encoding="offset", slices=1),
        values=held.values[:, stored:].contiguous(),
        errors=None if held.errors is None else held.errors[..., stored:].contiguous(),
        column_weight=held.column_weight[:1],
        signs=None,
        unit_coefficient=held.unit_coefficient[:0],
        block_of_output=held.block_of_output[:0],
        coefficient=none,
        shift_share=none,
        column_scale=one,
    )


def units_of_weights(held: Held) -> Held:
    """Return a matrix whose cells are those of weights alone."""
    stored = held.column_weight.numel() * held.formats.n_out
    return replace(held, values=held.values[:, :stored])


@dataclass(frozen=True)
class UnitCounts:
    """What codes of unit columns count in outputs, in levels.

    Attributes:
        counts: [column blocks, groups, most outputs of a block], 0 where there is none; float64, in
            which sums are exact, or float32.
        place: int64 [n_out], where each output stands among those of all blocks; None where all
            blocks are equally wide.
        step: levels a code.
    """

    counts: Tensor
    place: Tensor | None
    step: float

    @classmethod
    def of(cls, held: Held, dtype: torch.dtype) -> UnitCounts:
        """Return the counts of a matrix, as sums of a type take them."""
        widths = np.array(held.formats.tiling.column_blocks)
        groups, most, place = len(held.formats.groups), int(widths.max()), None
        room = held.unit_coefficient
        if widths.min() < most:
            block = held.formats.tiling.block_of_output
            inside = np.arange(held.formats.n_out) - (np.cumsum(widths) - widths)[block]
            place = constant(block * most + inside, held.values.device)
            room = room.new_zeros((groups, len(widths) * most))
            room[:, place] = held.unit_coefficient
        counts = room.to(dtype).reshape(groups, len(widths), most).transpose(0, 1).contiguous()
        return cls(counts, place, held.step_levels)

    def share(self, sums: Tensor) -> Tensor:
        """Return what unit columns add to outputs, [n, n_out].

        Args:
            sums: [column blocks, n, groups] of the type of `counts`, weighed sums of codes; they
                are changed.
        """
        return shares([self], [(0, sums.shape[1])], sums)


def shares(several: Sequence[UnitCounts], spans: Spans, sums: Tensor) -> Tensor:
    """Return what unit columns add to outputs of tokens that have one of several matrices.

    Args:
        several: of the matrices, which are of one shape.
        spans: tokens of each.
        sums: [column blocks, n, groups], weighed sums of codes; they are changed.

    Returns:
        [n, n_out]; anything for tokens of no span.
    """
    first = several[0]
    out = sums.new_empty((*sums.shape[:2], first.counts.shape[2]))
    for one, (start, end) in zip(several, spans, strict=True):
        if end > start:
            torch.bmm(sums[:, start:end].mul_(one.step), one.counts, out=out[:, start:end])
    found = out.transpose(0, 1).flatten(1)
    return found if first.place is None else found.index_select(1, first.place)
