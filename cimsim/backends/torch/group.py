"""Matrices of one form that a launch reads together: constants, and which tokens have which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

__all__ = ["Columns", "Group", "Spans"]

Spans = Sequence[tuple[int, int]]  # first token of each matrix, and the one after its last


class Columns(NamedTuple):
    """What the kernel reads of outputs, in the order of places but for `column`.

    Attributes:
        scale: float32 [n_out], weight of one LSB.
        coefficient: float64 [n_out], what a fed unit counts digitally.
        share: float64 [n_out], of shifted inputs.
        column: int32 [n_out], which output stands at a place.
        errors: float32 [groups, 3, stored columns, n_out] of converters; anything without.
        weight: int32 [stored columns], what each counts.
    """

    scale: Tensor
    coefficient: Tensor
    share: Tensor
    column: Tensor
    errors: Tensor
    weight: Tensor


class Group(NamedTuple):
    """What a launch reads of its matrices; the tables only if they are several.

    Attributes:
        columns: of all, one after another; `column` and `weight` are those of one.
        signs: int8 [matrices, groups, stored columns, n_out]; anything without complements.
        step: float64 [matrices], levels a code.
        blocks: int32 [programs, 3], matrix, first token and the token after its last.
        places: int64 [matrices, 3], bytes from the cells of the launch to theirs, and keys.
        factors: float32 [matrices, 3], as `Launch.factors`.
    """

    columns: Columns
    signs: Tensor
    step: Tensor
    blocks: Tensor
    places: Tensor
    factors: Tensor
