"""Norms, activations and sums of single tokens."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cimsim.elementary_arrays import exp_number, log_number
from cimsim.kernel_cache import cached
from cimsim.model.kernels.fma import fma

__all__ = [
    "add_weighted_rows",
    "divergence",
    "log_softmax",
    "negative_log_likelihood",
    "rms_norm",
    "scale_rows_by_sigmoid",
    "swiglu",
]

Array = NDArray[np.float32]


@cached
@njit(nogil=True)
def _rms_norm(x: Array, gain: Array, eps: float, out: Array) -> None:
    width = x.shape[1]
    for i in range(x.shape[0]):
        total = 0.0
        for j in range(width):
            total += np.float64(x[i, j]) * np.float64(x[i, j])
        scale = np.float32(1.0 / math.sqrt(total / width + eps))
        for j in range(width):
            out[i, j] = (x[i, j] * scale) * gain[j]


def rms_norm(x: Array, gain: Array, eps: float) -> Array:
    """Return RMSNorm: y = x / sqrt(mean(x^2) + eps) * gain, the mean in float64.

    Args:
        x: float32 [n, width].
        gain: float32 [width].
        eps: added to the mean square.
    """
    out = np.empty_like(x)
    _rms_norm(x, gain, eps, out)
    return out


@cached
@njit(nogil=True)
def _swiglu(gate: Array, up: Array, out: Array) -> None:
    one = np.float32(1.0)
    power = np.empty(gate.shape[1], dtype=np.float64)
    for i in range(gate.shape[0]):
        for j in range(gate.shape[1]):
            power[j] = exp_number(-np.float64(gate[i, j]))
        for j in range(gate.shape[1]):
            out[i, j] = gate[i, j] / (one + np.float32(power[j])) * up[i, j]


def swiglu(gate: Array, up: Array) -> Array:
    """Return silu(gate) * up with silu(g) = g / (1 + exp(-g)); both float32 [n, width]."""
    out = np.empty_like(gate)
    _swiglu(gate, up, out)
    return out


@cached
@njit(nogil=True)
def _scale_rows_by_sigmoid(y: Array, logit: Array, out: Array) -> None:
    one = np.float32(1.0)
    for i in range(y.shape[0]):
        scale = one / (one + np.float32(exp_number(-np.float64(logit[i, 0]))))
        for j in range(y.shape[1]):
            out[i, j] = y[i, j] * scale


def scale_rows_by_sigmoid(y: Array, logit: Array) -> Array:
    """Return y * sigmoid(logit), y float32 [n, width], logit float32 [n, 1]."""
    out = np.empty_like(y)
    _scale_rows_by_sigmoid(y, logit, out)
    return out


@cached
@njit(nogil=True)
def add_weighted_rows(total: Array, rows: NDArray[np.int64], weight: Array, y: Array) -> None:
    """Add weight[i] * y[i] to total[rows[i]] in place; `rows` are distinct."""
    for i in range(rows.shape[0]):
        r = rows[i]
        for j in range(y.shape[1]):
            total[r, j] = fma(weight[i], y[i, j], total[r, j])


@cached
@njit(nogil=True)
def _negative_log_likelihood(
    logits: Array, target: NDArray[np.int64], out: NDArray[np.float64]
) -> None:
    share = np.empty(logits.shape[1], dtype=np.float64)
    for i in range(logits.shape[0]):
        top = logits[i].max()
        # In a loop of its own, which vectorises: the sum must keep its order.
        for j in range(logits.shape[1]):
            share[j] = exp_number(np.float64(logits[i, j]) - np.float64(top))
        total = 0.0
        for j in range(logits.shape[1]):
            total += share[j]
        out[i] = log_number(total) + np.float64(top) - np.float64(logits[i, target[i]])


def negative_log_likelihood(logits: Array, target: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return -log softmax(logits)[target] of each row, in nats, summed in float64.

    Args:
        logits: float32 [n, vocab].
        target: int64 [n].
    """
    out = np.empty(logits.shape[0], dtype=np.float64)
    _negative_log_likelihood(logits, target, out)
    return out


@cached
@njit(nogil=True)
def _log_softmax(logits: Array, out: Array) -> None:
    share = np.empty(logits.shape[1], dtype=np.float64)
    for i in range(logits.shape[0]):
        top = np.float64(logits[i].max())
        for j in range(logits.shape[1]):
            share[j] = exp_number(np.float64(logits[i, j]) - top)
        total = 0.0
        for j in range(logits.shape[1]):
            total += share[j]
        shift = top + log_number(total)
        for j in range(logits.shape[1]):
            out[i, j] = np.float32(np.float64(logits[i, j]) - shift)


def log_softmax(logits: Array) -> Array:
    """Return the logarithm of the softmax of each row, float32 [n, width], summed in float64."""
    out = np.empty_like(logits)
    _log_softmax(logits, out)
    return out


@cached
@njit(nogil=True)
def _divergence(first: Array, second: Array, out: NDArray[np.float64]) -> None:
    term = np.empty(first.shape[1], dtype=np.float64)
    for i in range(first.shape[0]):
        for j in range(first.shape[1]):
            p = np.float64(first[i, j])
            term[j] = exp_number(p) * (p - np.float64(second[i, j]))
        total = 0.0
        for j in range(first.shape[1]):
            total += term[j]
        out[i] = total


def divergence(first: Array, second: Array) -> NDArray[np.float64]:
    """Return KL(first || second) of each row in nats, summed in float64, [n].

    Args:
        first: float32 [n, width], log probabilities.
        second: float32 [n, width], log probabilities.
    """
    out = np.empty(first.shape[0], dtype=np.float64)
    _divergence(first, second, out)
    return out
