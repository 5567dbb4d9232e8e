"""Matrix product in float32 whose rows do not depend on each other."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cimsim.kernel_cache import cached
from cimsim.model.kernels.fma import fma

__all__ = ["product"]

COLUMN_BLOCK = 512  # columns of W worked on at a time: four rows of partial sums stay in L1


@cached
@njit(nogil=True)
def _one_row(
    x: NDArray[np.float32], w: NDArray[np.float32], out: NDArray[np.float32], start: int, stop: int
) -> None:
    a = out[start:stop]
    for k in range(w.shape[0]):
        row, xk = w[k, start:stop], x[k]
        for j in range(stop - start):
            a[j] = fma(xk, row[j], a[j])


@cached
@njit(nogil=True)
def _four_rows(
    x: NDArray[np.float32],
    w: NDArray[np.float32],
    out: NDArray[np.float32],
    i: int,
    start: int,
    stop: int,
) -> None:
    # Four rows by four summands: sixteen fused multiply-adds for four loads of W.
    a0, a1 = out[i, start:stop], out[i + 1, start:stop]
    a2, a3 = out[i + 2, start:stop], out[i + 3, start:stop]
    x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
    n_in, width = w.shape[0], stop - start
    whole = n_in - n_in % 4
    for k in range(0, whole, 4):
        w0, w1 = w[k, start:stop], w[k + 1, start:stop]
        w2, w3 = w[k + 2, start:stop], w[k + 3, start:stop]
        x00, x01, x02, x03 = x0[k], x0[k + 1], x0[k + 2], x0[k + 3]
        x10, x11, x12, x13 = x1[k], x1[k + 1], x1[k + 2], x1[k + 3]
        x20, x21, x22, x23 = x2[k], x2[k + 1], x2[k + 2], x2[k + 3]
        x30, x31, x32, x33 = x3[k], x3[k + 1], x3[k + 2], x3[k + 3]
        for j in range(width):
            p0, p1, p2, p3 = w0[j], w1[j], w2[j], w3[j]
            a0[j] = fma(x03, p3, fma(x02, p2, fma(x01, p1, fma(x00, p0, a0[j]))))
            a1[j] = fma(x13, p3, fma(x12, p2, fma(x11, p1, fma(x10, p0, a1[j]))))
            a2[j] = fma(x23, p3, fma(x22, p2, fma(x21, p1, fma(x20, p0, a2[j]))))
            a3[j] = fma(x33, p3, fma(x32, p2, fma(x31, p1, fma(x30, p0, a3[j]))))
    for k in range(whole, n_in):
        row = w[k, start:stop]
        for j in range(width):
            a0[j] = fma(x0[k], row[j], a0[j])
            a1[j] = fma(x1[k], row[j], a1[j])
            a2[j] = fma(x2[k], row[j], a2[j])
            a3[j] = fma(x3[k], row[j], a3[j])


@cached
@njit(nogil=True)
def _product(x: NDArray[np.float32], w: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    # Blocks are cut row by row: a slice of a matrix has no known inner stride, and its
    # loops would not be vectorised.
    n = x.shape[0]
    whole = n - n % 4
    for start in range(0, w.shape[1], COLUMN_BLOCK):
        stop = min(start + COLUMN_BLOCK, w.shape[1])
        for i in range(0, whole, 4):
            _four_rows(x, w, out, i, start, stop)
        for i in range(whole, n):
            _one_row(x[i], w, out[i], start, stop)


def product(x: NDArray[np.float32], w: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return x @ w, each element summed over k = 0, 1, ... with fused multiply-adds.

    Args:
        x: float32 [n, n_in], C-contiguous.
        w: float32 [n_in, n_out], C-contiguous.

    Returns:
        float32 [n, n_out]; row i has the same bits whatever the other rows are.
    """
    out = np.zeros((x.shape[0], w.shape[1]), dtype=np.float32)
    _product(x, w, out)
    return out
