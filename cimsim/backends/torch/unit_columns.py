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
        place: int64 [n_out], where each output stands among those of all blocks.
        plane_weight: [planes], of the type of `counts`.
        step: levels a code.
    """

    counts: Tensor
    place: Tensor
    plane_weight: Tensor
    step: float

    @classmethod
    def of(cls, held: Held, dtype: torch.dtype) -> UnitCounts:
        """Return the counts of a matrix, as sums of a type take them."""
        widths = held.formats.tiling.column_blocks
        most, device = max(widths), held.values.device
        start = constant(np.cumsum([0, *widths[:-1]]), device)
        output = torch.arange(held.formats.n_out, device=device)
        place = held.block_of_output * most + output - start[held.block_of_output]
        room = held.unit_coefficient.new_zeros((len(held.formats.groups), len(widths) * most))
        room[:, place] = held.unit_coefficient
        counts = room.reshape(len(room), len(widths), most).transpose(0, 1).contiguous()
        return cls(counts.to(dtype), place, held.plane_weight.to(dtype), held.step_levels)

    def share(self, codes: Tensor) -> Tensor:
        """Return what unit columns add to outputs, [n, n_out].

        Args:
            codes: int32 [groups, n, planes, column blocks].
        """
        return shares([self], [(0, codes.shape[1])], codes)


def shares(several: Sequence[UnitCounts], spans: Spans, codes: Tensor) -> Tensor:
    """Return what unit columns add to outputs of tokens that have one of several matrices.

    Args:
        several: of the matrices, which are of one form.
        spans: tokens of each.
        codes: int32 [groups, n, planes, column blocks].

    Returns:
        [n, n_out]; anything for tokens of no span.
    """
    first = several[0]
    numbers = codes.to(first.counts.dtype)
    weighed = torch.einsum("gnpb,p->bng", numbers, first.plane_weight)
    out = weighed.new_empty((*weighed.shape[:2], first.counts.shape[2]))
    for one, (start, end) in zip(several, spans, strict=True):
        if end > start:
            some = weighed[:, start:end].mul_(one.step)
            out[:, start:end] = torch.matmul(some, one.counts)
    found = out.transpose(0, 1).flatten(1)
    whole = found.shape[1] == first.place.numel()
    return found.contiguous() if whole else found.index_select(1, first.place)
