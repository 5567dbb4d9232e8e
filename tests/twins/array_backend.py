"""A second array backend, in plain NumPy and float64, after the equations a row at a time.

It shows that the interpreter knows arrays through the protocol alone (nothing of it is float32 or
compiled), and it is the slow twin of the product's kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from cimsim.model import Checkpoint
from cimsim.model.array_backend import Piece
from cimsim.workload.choice import GroupedChoice
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["PlainBackend", "PlainLinear", "divergence", "log_softmax", "product"]

Array = np.ndarray[Any, np.dtype[Any]]


class PlainBackend:
    """Arrays of float64."""

    batch_tokens = 64

    def of_layer(self, layer: int) -> PlainBackend:
        del layer
        return self

    def array(self, values: Array) -> Array:
        return np.array(values, dtype=np.float64)

    def host(self, x: Array) -> Array:
        return x.astype(np.float32)

    def zeros(self, shape: tuple[int, ...]) -> Array:
        return np.zeros(shape)

    def take(self, x: Array, rows: Array) -> Array:
        return np.stack([x[row] for row in rows])

    def join(self, pieces: Sequence[Piece], n: int) -> Array:
        whole = np.full((n, pieces[0][1].shape[1]), np.nan)
        for rows, y in pieces:
            for row, values in zip(range(n) if rows is None else rows, y, strict=True):
                whole[row] = values
        return whole

    def product(self, x: Array, w: Array) -> Array:
        return _wide(x) @ _wide(w)

    def mean(self, several: Sequence[Array]) -> Array:
        return sum(several) / len(several)

    def greatest(self, x: Array) -> Array:
        return np.stack([max(abs(row)) for row in x]).reshape(-1, 1)

    def refuse_infinite(self, x: Array, refuse: Callable[[bool], None]) -> None:
        for value in x.ravel():
            if not np.isfinite(value):
                refuse(bool(np.isinf(x).any()))

    def together(self) -> AbstractContextManager[None]:
        return nullcontext()

    def columns(self, x: Array, which: Array) -> Array:
        return np.stack([x[..., i] for i in which], axis=-1)

    def beside(self, parts: Sequence[Array]) -> Array:
        return np.concatenate(parts, axis=-1)

    def clip(self, x: Array, bound: float) -> Array:
        return np.sign(x) * np.minimum(np.abs(x), bound)

    def rms_norm(self, x: Array, gain: Array, eps: float) -> Array:
        return np.stack([row / np.sqrt((row**2).mean() + eps) * gain for row in _wide(x)])

    def rotate(self, x: Array, position: Array, cos: Array, sin: Array) -> Array:
        a, b = np.split(_wide(x), 2, axis=2)
        c, s = cos[position][:, None], sin[position][:, None]
        return np.concatenate([a * c - b * s, b * c + a * s], axis=2)

    def attend(
        self, q: Array, slots: Array, position: Array, k: Array, v: Array, scale: float
    ) -> Array:
        group = q.shape[1] // k.shape[1]
        out = np.empty((*q.shape[:2], v.shape[3]))
        for i in range(q.shape[0]):
            length = int(position[i]) + 1
            for h in range(q.shape[1]):
                keys = _wide(k[slots[i], h // group, :, :length])
                score = _wide(q[i, h]) @ keys * scale
                weight = np.exp(score - score.max())
                out[i, h] = (weight / weight.sum()) @ v[slots[i], h // group, :length]
        return out

    def swiglu(self, gate: Array, up: Array) -> Array:
        return _wide(gate) * _sigmoid(gate) * up

    def scale_rows_by_sigmoid(self, y: Array, logit: Array) -> Array:
        return y * _sigmoid(logit)

    def add_weighted_rows(self, total: Array, rows: Array, weight: Array, y: Array) -> None:
        for row, w, values in zip(rows, weight, y, strict=True):
            total[row] += w * values

    def select(
        self, logits: Array, top_k: int, *, renormalise: bool, scale: float
    ) -> tuple[Array, Array]:
        share = np.exp(_log_softmax(logits))
        experts = np.argsort(-_wide(logits), axis=1, kind="stable")[:, :top_k]
        gates = np.take_along_axis(share, experts, axis=1)
        if renormalise:
            gates = gates / gates.sum(axis=1, keepdims=True)
        return experts.astype(np.int16), (gates * scale).astype(np.float32)

    def select_in_groups(
        self,
        logits: Array,
        bias: Array | None,
        top_k: int,
        choice: GroupedChoice,
        *,
        renormalise: bool,
        scale: float,
    ) -> tuple[Array, Array]:
        softmax = choice.score == "softmax"
        score = np.exp(_log_softmax(logits)) if softmax else _sigmoid(logits)
        value = np.where(np.isneginf(logits), -np.inf, score + (0 if bias is None else bias))
        by_group = np.sort(value.reshape(len(value), choice.groups, -1), axis=2)
        rank = by_group[:, :, -2:].sum(axis=2) if choice.rank == "best_two" else by_group[:, :, -1]
        left_out = np.argsort(-rank, axis=1, kind="stable")[:, choice.chosen_groups :]
        size = logits.shape[1] // choice.groups
        for row, groups in zip(value, left_out, strict=True):
            for g in groups:
                row[g * size : (g + 1) * size] = -np.inf
        experts = np.argsort(-value, axis=1, kind="stable")[:, :top_k]
        gates = np.take_along_axis(score, experts, axis=1)
        if renormalise:
            gates = gates / gates.sum(axis=1, keepdims=True)
        return experts.astype(np.int16), (gates * scale).astype(np.float32)

    def negative_log_likelihood(self, logits: Array, target: Array) -> Array:
        return -_log_softmax(logits)[np.arange(len(target)), target]


class PlainLinear:
    """Products in float64."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def __call__(self, matrix: MatrixId, x: Array, tokens: TokenKeys) -> Array:
        del tokens
        return _wide(x) @ _wide(self._checkpoint.matrix(matrix))


def product(x: Array, w: Array) -> Array:
    """Return x @ w, one summand at a time, fused by rounding from float64.

    A product of two float32 is exact in float64, so the only difference to a true fused
    multiply-add is a rare double rounding in the last bit.
    """
    total = np.zeros((x.shape[0], w.shape[1]), dtype=np.float32)
    for k in range(w.shape[0]):
        exact = _wide(x[:, k, None]) * _wide(w[None, k])
        total = (exact + total).astype(np.float32)
    return total


def log_softmax(logits: Array) -> Array:
    """Return the logarithm of the softmax of each row, float32."""
    return _log_softmax(logits).astype(np.float32)


def divergence(first: Array, second: Array) -> Array:
    """Return KL(first || second) of rows of log probabilities, float64."""
    p, q = _wide(first), _wide(second)
    return np.asarray((np.exp(p) * (p - q)).sum(axis=1))


def _log_softmax(logits: Array) -> Array:
    wide = _wide(logits)
    wide = wide - wide.max(axis=1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=1, keepdims=True)))


def _sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-_wide(x))))


def _wide(x: Array) -> Array:
    return x.astype(np.float64)
