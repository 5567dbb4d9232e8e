"""Rows times the weights of their groups, in one product of a device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["grouped_product"]

_ALIGNED = 8  # values of two bytes: the product takes rows of multiples of sixteen bytes


def grouped_product(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """Return rows times the weights of their groups, by the device's grouped product.

    Widths that are no multiple of eight are filled up with zeros, which changes no sum.

    Args:
        x: bf16 [rows, n_in].
        weight: bf16 [groups, n_out, n_in].
        ends: int32 [groups], of the rows of each group.
    """
    n_out = weight.shape[1]
    inner, outer = -x.shape[1] % _ALIGNED, -n_out % _ALIGNED
    if inner or outer:
        x = pad(x, (0, inner))
        weight = pad(weight, (0, inner, 0, outer))
    found = torch._grouped_mm(x, weight.transpose(1, 2), offs=ends)
    return found[:, :n_out].contiguous() if outer else found
