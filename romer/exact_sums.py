"""Sums over calibration tokens that have the same bits in whatever order they are added.

A product of two matrices of float32 depends on how a BLAS kernel orders its terms. Here the
values of a channel (a column) are first rounded to a grid, a power of two of its own that
leaves `bits` for the greatest: |q| <= 2^bits. A sum of n products of grid units stays within
n 2^(2 bits) <= 2^53, so that float64 holds every partial sum exactly. With 65,536 tokens that
are 18 bits: the rounding error is at most 2e-6 of a channel's greatest value.
"""

from __future__ import annotations

from math import ceil, log2
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Moments", "column_moments", "column_products", "gram_matrix", "summed_bits"]

Array = NDArray[np.float32]
Floats = NDArray[np.float64]

_EXACT_BITS = 53
_MOST_BITS = 24  # of a float32


class Moments(NamedTuple):
    """Sums over the tokens of each column, float64 [columns]; NumPy's, or tensors."""

    x: Any
    y: Any
    xx: Any
    xy: Any


def gram_matrix(x: Array, y: Array) -> Floats:
    """Return x^T y, float64 [x columns, y columns].

    Args:
        x: float32 [n, x columns].
        y: float32 [n, y columns].
    """
    bits = summed_bits(len(x))
    (qx, ux), (qy, uy) = _on_grid(x, bits), _on_grid(y, bits)
    return np.asarray((qx.T @ qy) * ux[:, None] * uy)


def column_products(x: Array, y: Array) -> Floats:
    """Return the sum of x y over the tokens of each column, float64 [columns]."""
    bits = summed_bits(len(x))
    (qx, ux), (qy, uy) = _on_grid(x, bits), _on_grid(y, bits)
    return np.asarray((qx * qy).sum(axis=0) * ux * uy)


def column_moments(x: Array, y: Array) -> Moments:
    """Return the sums of x, y, x x and x y, both float32 [n, columns]."""
    bits = summed_bits(len(x))
    (qx, ux), (qy, uy) = _on_grid(x, bits), _on_grid(y, bits)
    return Moments(
        qx.sum(axis=0) * ux, qy.sum(axis=0) * uy,
        (qx * qx).sum(axis=0) * ux * ux, (qx * qy).sum(axis=0) * ux * uy,
    )  # fmt: skip


def summed_bits(n: int) -> int:
    """Return the bits of a value with which n products are summed exactly."""
    return min(_MOST_BITS, (_EXACT_BITS - ceil(log2(max(n, 1)))) // 2)


def _on_grid(x: Array, bits: int) -> tuple[Floats, Floats]:
    """Return whole numbers, float64 [n, columns], and the value of one, [columns]."""
    _, exponent = np.frexp(np.abs(x).max(axis=0, initial=0.0).astype(np.float64))
    unit = np.ldexp(1.0, exponent - bits)
    return np.rint(x / unit), unit
