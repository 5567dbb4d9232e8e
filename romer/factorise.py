"""Linear algebra of fits in a fixed order of operations, in float64.

LAPACK blocks its loops by the processor, and its last bits follow. The routines here add and
multiply in one order, uncontracted, on any machine: a blocked Cholesky factorisation, triangular
solves, products, and leading subspaces by a fixed count of orthogonal iterations (subspace
iteration; Halko, Martinsson and Tropp, SIAM Review 53, 2011) from addressed normals.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cimsim.errors import CimsimInternalError
from cimsim.kernel_cache import cached
from cimsim.rng import CHUNK, derive_key, normals_at

__all__ = ["ITERATIONS", "Cholesky", "first_rows", "leading_rows", "multiply"]

Floats = NDArray[np.float64]

_BLOCK = 64
# Where singular values fall by 2 % each, one row holds 97 % of the best row's energy, six rows
# 99.7 %.
ITERATIONS = 16
_PURPOSE_SUBSPACE = 40


class Cholesky:
    """A = L L^T of a symmetric positive definite matrix.

    Args:
        matrix: float64 [d, d]; its lower triangle is read.

    Raises:
        CimsimInternalError: if the matrix is not positive definite: fits add a ridge.
    """

    def __init__(self, matrix: Floats) -> None:
        self._lower = np.tril(np.ascontiguousarray(matrix, dtype=np.float64))
        if not _factor(self._lower):
            message = "a matrix of a fit is not positive definite"
            raise CimsimInternalError(message)

    def half(self, right: Floats) -> Floats:
        """Return L^-1 right, float64 [d, columns]: right^T A^-1 right is its square."""
        out = np.array(right, dtype=np.float64, order="C")
        _forward(self._lower, out)
        return out

    def rest(self, half: Floats) -> Floats:
        """Return L^-T half, float64 [d, columns]: A^-1 right of what `half` returned."""
        out = np.array(half, dtype=np.float64, order="C")
        _backward(self._lower, out)
        return out


def multiply(a: Floats, b: Floats) -> Floats:
    """Return a b, each element summed over k = 0, 1, ... in float64, [n, m]."""
    out = np.zeros((a.shape[0], b.shape[1]))
    _multiply(np.ascontiguousarray(a), np.ascontiguousarray(b), out)
    return out


def leading_rows(matrix: Floats, rank: int) -> Floats:
    """Return orthonormal rows near the leading right singular vectors, [rank, columns].

    Rows beyond the rank of the matrix are zero.

    Args:
        matrix: float64 [rows, columns].
        rank: at most this many.
    """
    basis = first_rows(matrix.shape[1], rank)
    turned = np.ascontiguousarray(matrix.T)
    for _ in range(ITERATIONS):
        basis = multiply(multiply(basis, turned), matrix)
        _orthonormalise(basis)
    return basis


def first_rows(columns: int, rank: int) -> Floats:
    """Return the rows that `leading_rows` begins with: addressed normals, [rank, columns]."""
    key = derive_key(_PURPOSE_SUBSPACE, columns)
    room = -(-columns // CHUNK) * CHUNK
    rows = np.stack([normals_at(room, (r, 0, 0), key)[:columns] for r in range(rank)])
    return rows.astype(np.float64)


@cached
@njit(error_model="numpy")
def _factor(a):  # type: ignore[no-untyped-def]
    """Turn the lower triangle of `a` into L in place; return whether it exists.

    Column block by column block: the block's own columns first, then what they take from the
    rows below them. A panel of the block, transposed, stays in the second-level cache.
    """
    d = a.shape[0]
    panel = np.empty((_BLOCK, d))
    for start in range(0, d, _BLOCK):
        stop = min(start + _BLOCK, d)
        for k in range(start, stop):
            pivot = a[k, k]
            if not pivot > 0.0:
                return False
            root = np.sqrt(pivot)
            a[k, k] = root
            for i in range(k + 1, d):
                a[i, k] /= root
            for i in range(k + 1, d):
                factor = a[i, k]
                for j in range(k + 1, min(stop, i + 1)):
                    a[i, j] -= factor * a[j, k]
        for k in range(start, stop):
            for i in range(stop, d):
                panel[k - start, i] = a[i, k]
        for i in range(stop, d):
            row = a[i, stop : i + 1]
            for k in range(start, stop):
                factor, other = a[i, k], panel[k - start, stop : i + 1]
                for j in range(row.size):
                    row[j] -= factor * other[j]
    return True


@cached
@njit(error_model="numpy")
def _forward(lower, out):  # type: ignore[no-untyped-def]
    """Solve L y = out in place, some columns at a time."""
    d, columns = out.shape
    for start in range(0, columns, _BLOCK):
        stop = min(start + _BLOCK, columns)
        for i in range(d):
            row = out[i, start:stop]
            for k in range(i):
                factor, other = lower[i, k], out[k, start:stop]
                for j in range(row.size):
                    row[j] -= factor * other[j]
            for j in range(row.size):
                row[j] /= lower[i, i]


@cached
@njit(error_model="numpy")
def _backward(lower, out):  # type: ignore[no-untyped-def]
    """Solve L^T x = out in place, some columns at a time."""
    d, columns = out.shape
    for start in range(0, columns, _BLOCK):
        stop = min(start + _BLOCK, columns)
        for i in range(d - 1, -1, -1):
            row = out[i, start:stop]
            for j in range(row.size):
                row[j] /= lower[i, i]
            for k in range(i):
                factor, other = lower[i, k], out[k, start:stop]
                for j in range(row.size):
                    other[j] -= factor * row[j]


@cached
@njit(error_model="numpy")
def _multiply(a, b, out):  # type: ignore[no-untyped-def]
    for i in range(a.shape[0]):
        row = out[i]
        for k in range(a.shape[1]):
            factor, other = a[i, k], b[k]
            for j in range(row.size):
                row[j] += factor * other[j]


@cached
@njit(error_model="numpy")
def _orthonormalise(rows):  # type: ignore[no-untyped-def]
    """Make rows orthonormal in place by Gram and Schmidt, twice; dependent ones become zero."""
    for i in range(rows.shape[0]):
        before = _length(rows[i])
        for _ in range(2):
            for k in range(i):
                share = 0.0
                for j in range(rows.shape[1]):
                    share += rows[k, j] * rows[i, j]
                for j in range(rows.shape[1]):
                    rows[i, j] -= share * rows[k, j]
        length = _length(rows[i])
        kept = length > 1e-12 * before
        for j in range(rows.shape[1]):
            rows[i, j] = rows[i, j] / length if kept else 0.0


@cached
@njit(error_model="numpy")
def _length(row):  # type: ignore[no-untyped-def]
    total = 0.0
    for j in range(row.size):
        total += row[j] * row[j]
    return np.sqrt(total)
