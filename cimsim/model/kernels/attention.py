"""Causal softmax attention of single query rows over a cache, and rotation."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cimsim.elementary_arrays import exp_number
from cimsim.kernel_cache import cached
from cimsim.model.kernels.fma import fma

__all__ = ["attend", "rotate"]

Array = NDArray[np.float32]
Index = NDArray[np.int64]


@cached
@njit(nogil=True)
def rotate(x: Array, position: Index, cos: Array, sin: Array) -> None:
    """Rotate the halves of each head in place: (a, b) -> (a cos - b sin, b cos + a sin).

    Args:
        x: float32 [n, heads, head_dim].
        position: int64 [n].
        cos: float32 [positions, head_dim / 2].
        sin: float32 [positions, head_dim / 2].
    """
    half = x.shape[2] // 2
    for i in range(x.shape[0]):
        p = position[i]
        for h in range(x.shape[1]):
            for j in range(half):
                a = x[i, h, j]
                b = x[i, h, j + half]
                x[i, h, j] = fma(-b, sin[p, j], a * cos[p, j])
                x[i, h, j + half] = fma(a, sin[p, j], b * cos[p, j])


@cached
@njit(nogil=True)
def _scores(q: Array, k: Array, scale: np.float32, out: Array) -> None:
    # k is [head_dim, capacity]: vector lanes are positions, the sum over head_dim is in order.
    # Rows are cut one by one, because a slice of a matrix has no known inner stride.
    head_dim, length = q.shape[0], out.shape[0]
    whole = head_dim - head_dim % 4
    out[:] = np.float32(0.0)
    for d in range(0, whole, 4):
        k0, k1 = k[d, :length], k[d + 1, :length]
        k2, k3 = k[d + 2, :length], k[d + 3, :length]
        q0, q1, q2, q3 = q[d], q[d + 1], q[d + 2], q[d + 3]
        for j in range(length):
            out[j] = fma(q3, k3[j], fma(q2, k2[j], fma(q1, k1[j], fma(q0, k0[j], out[j]))))
    for d in range(whole, head_dim):
        k0, q0 = k[d, :length], q[d]
        for j in range(length):
            out[j] = fma(q0, k0[j], out[j])
    for j in range(length):
        out[j] *= scale


@cached
@njit(nogil=True)
def _softmax_mix(weights: Array, v: Array, out: Array) -> None:
    top = weights.max()
    total = 0.0
    for j in range(weights.shape[0]):
        weights[j] = np.float32(exp_number(np.float64(weights[j] - top)))
    for j in range(weights.shape[0]):
        total += np.float64(weights[j])
    out[:] = np.float32(0.0)
    for j in range(weights.shape[0]):
        w = weights[j]
        row = v[j]
        for d in range(out.shape[0]):
            out[d] = fma(w, row[d], out[d])
    inverse = np.float32(1.0 / total)
    for d in range(out.shape[0]):
        out[d] *= inverse


@cached
@njit(nogil=True)
def attend(
    q: Array, slot: Index, position: Index, k: Array, v: Array, scale: np.float32, out: Array
) -> None:
    """Mix the values of positions 0 to p for each query row at position p.

    Args:
        q: float32 [n, heads, head_dim].
        slot: int64 [n], which sequence of the cache a row belongs to.
        position: int64 [n].
        k: float32 [slots, kv_heads, head_dim, capacity], transposed keys.
        v: float32 [slots, kv_heads, capacity, value_dim].
        scale: factor on scores.
        out: float32 [n, heads, value_dim], overwritten.
    """
    heads = q.shape[1]
    group = heads // k.shape[1]
    scratch = np.empty(k.shape[3], dtype=np.float32)
    for i in range(q.shape[0]):
        length = position[i] + 1
        for h in range(heads):
            g = h // group
            weights = scratch[:length]
            _scores(q[i, h], k[slot[i], g], scale, weights)
            _softmax_mix(weights, v[slot[i], g], out[i, h])
