"""The digital arithmetic of a decoder on rows of tokens: what an array library must offer.

`ArrayBackend` is everything that the interpreter asks of arrays, apart from ``+``, ``reshape``
and comparing dtypes, which arrays do themselves. `NumbaBackend` is the product's: kernels of a
fixed order, so that a row's bytes depend neither on the batch nor on the machine. Another library
is another implementation of the protocol, with its own arrays where NumPy's stand here, and not
another decoder; which products are digital and which are a chip's is the business of a `Linear`.

Rows, positions, tokens, experts and gates are NumPy arrays on the host whatever the library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from cimsim.model.kernels.attention import attend, rotate
from cimsim.model.kernels.product import product
from cimsim.model.kernels.rows import (
    add_weighted_rows,
    negative_log_likelihood,
    rms_norm,
    scale_rows_by_sigmoid,
    swiglu,
)
from cimsim.model.kernels.selection import select, select_in_groups
from cimsim.workload.choice import GroupedChoice

if TYPE_CHECKING:
    from cimsim.model.checkpoint import Checkpoint
    from cimsim.workload.matrix import MatrixId

__all__ = ["ArrayBackend", "NumbaBackend", "Piece"]

Array = NDArray[np.float32]
Index = NDArray[np.int64]
Piece = tuple[Index | None, Array]
"""Some rows of a result and which they are, rising; None for all of them."""


class ArrayBackend(Protocol):
    """Operations on float32 arrays [n, width]; row i of a result depends on row i alone."""

    @property
    def batch_tokens(self) -> int:
        """Tokens taken through a layer together: bounds memory and not results."""
        ...

    def of_layer(self, layer: int) -> ArrayBackend:
        """Return what computes a layer, -1 before the first: itself, or one of several devices."""
        ...

    def array(self, values: Array) -> Array:
        """Return values as a contiguous array of this library."""
        ...

    def weight(self, checkpoint: Checkpoint, matrix: MatrixId) -> Array:
        """Return the weights of a matrix, [n_in, n_out]; they may be kept and are not changed."""
        ...

    def host(self, x: Array) -> Array:
        """Return an array as NumPy's."""
        ...

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """Return zeros."""
        ...

    def take(self, x: Array, rows: Index) -> Array:
        """Return some rows."""
        ...

    def join(self, pieces: Sequence[Piece], n: int) -> Array:
        """Return n rows from pieces that have each row once."""
        ...

    def product(self, x: Array, w: Array) -> Array:
        """Return the digital product x @ w, w [n_in, n_out]."""
        ...

    def mean(self, several: Sequence[Array]) -> Array:
        """Return the mean of arrays of one shape, summed in float64."""
        ...

    def greatest(self, x: Array) -> Array:
        """Return the greatest magnitude of every row, [n, 1]."""
        ...

    def refuse_infinite(self, x: Array, refuse: Callable[[bool], None]) -> None:
        """Call `refuse` unless every entry is finite: at once, or at the end of `together`.

        It is told whether an entry is infinite; else one is not a number.
        """
        ...

    def together(self) -> AbstractContextManager[None]:
        """Return a context in which a device may be asked once for all that is found wrong."""
        ...

    def columns(self, x: Array, which: Index) -> Array:
        """Return some entries of the last axis, contiguous."""
        ...

    def beside(self, parts: Sequence[Array]) -> Array:
        """Return arrays joined along the last axis."""
        ...

    def clip(self, x: Array, bound: float) -> Array:
        """Return entries limited to -bound and bound."""
        ...

    def rms_norm(self, x: Array, gain: Array, eps: float) -> Array:
        """Return x / sqrt(mean(x^2) + eps) * gain."""
        ...

    def rotate(self, x: Array, position: Index, cos: Array, sin: Array) -> Array:
        """Return heads [n, heads, width] with their halves rotated by the angles of positions."""
        ...

    def attend(
        self,
        q: Array,
        slots: Index,
        position: Index,
        keys: Array,
        values: Array,
        scale: float,
    ) -> Array:
        """Return the values mixed by causal softmax attention, [n, heads, value width].

        Args:
            q: [n, heads, width].
            slots: sequence of each row.
            position: its position; it attends to those up to its own.
            keys: [slots, kv_heads, width, capacity].
            values: [slots, kv_heads, capacity, value width].
            scale: factor on scores.
        """
        ...

    def swiglu(self, gate: Array, up: Array) -> Array:
        """Return silu(gate) * up."""
        ...

    def scale_rows_by_sigmoid(self, y: Array, logit: Array) -> Array:
        """Return y * sigmoid(logit), logit [n, 1]."""
        ...

    def add_weighted_rows(self, total: Array, rows: Index, weight: Array, y: Array) -> None:
        """Add weight[i] * y[i] to total[rows[i]] in place; rows are distinct."""
        ...

    def select(
        self, logits: Array, top_k: int, *, renormalise: bool, scale: float
    ) -> tuple[NDArray[np.int16], Array]:
        """Return the k experts of the largest logits (on the host), and their softmax gates."""
        ...

    def select_in_groups(
        self,
        logits: Array,
        bias: Array | None,
        top_k: int,
        choice: GroupedChoice,
        *,
        renormalise: bool,
        scale: float,
    ) -> tuple[NDArray[np.int16], Array]:
        """Return the k best experts of the best groups (on the host), and their gates."""
        ...

    def negative_log_likelihood(self, logits: Array, target: Index) -> NDArray[np.float64]:
        """Return -log softmax(logits)[target] of each row in nats, float64, on the host."""
        ...


class NumbaBackend:
    """NumPy arrays and compiled kernels of a fixed order."""

    batch_tokens = 4096
    rms_norm = staticmethod(rms_norm)
    swiglu = staticmethod(swiglu)
    scale_rows_by_sigmoid = staticmethod(scale_rows_by_sigmoid)
    add_weighted_rows = staticmethod(add_weighted_rows)
    select = staticmethod(select)
    select_in_groups = staticmethod(select_in_groups)
    negative_log_likelihood = staticmethod(negative_log_likelihood)

    def of_layer(self, layer: int) -> NumbaBackend:
        """Return itself."""
        del layer
        return self

    def array(self, values: Array) -> Array:
        """Return values, copied only if they are not contiguous."""
        return np.ascontiguousarray(values)

    def weight(self, checkpoint: Checkpoint, matrix: MatrixId) -> Array:
        """Return the weights of a matrix; the checkpoint keeps those asked for last."""
        return checkpoint.matrix(matrix)

    def host(self, x: Array) -> Array:
        """Return the array itself."""
        return x

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """Return zeros."""
        return np.zeros(shape, dtype=np.float32)

    def take(self, x: Array, rows: Index) -> Array:
        """Return some rows."""
        return x[rows]

    def join(self, pieces: Sequence[Piece], n: int) -> Array:
        """Return n rows from pieces; one piece of all rows is not copied."""
        if len(pieces) == 1 and pieces[0][0] is None:
            return pieces[0][1]
        out = np.empty((n, pieces[0][1].shape[1]), dtype=np.float32)
        for rows, y in pieces:
            out[slice(None) if rows is None else rows] = y
        return out

    def product(self, x: Array, w: Array) -> Array:
        """Return x @ w, summed in a fixed order."""
        return np.asarray(product(np.ascontiguousarray(x, dtype=np.float32), w))

    def mean(self, several: Sequence[Array]) -> Array:
        """Return the mean of arrays."""
        total = np.zeros(several[0].shape, dtype=np.float64)
        for each in several:
            total += each
        return np.asarray(total / len(several), dtype=np.float32)

    def greatest(self, x: Array) -> Array:
        """Return the greatest magnitude of every row."""
        return np.asarray(np.abs(x).max(axis=1, keepdims=True))

    def refuse_infinite(self, x: Array, refuse: Callable[[bool], None]) -> None:
        """Call `refuse` unless every entry is finite, at once."""
        if not np.isfinite(x).all():
            refuse(bool(np.isinf(x).any()))

    def together(self) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()

    def columns(self, x: Array, which: Index) -> Array:
        """Return some entries of the last axis, contiguous."""
        return np.ascontiguousarray(x[..., which])

    def beside(self, parts: Sequence[Array]) -> Array:
        """Return arrays joined along the last axis."""
        return np.concatenate(parts, axis=-1)

    def clip(self, x: Array, bound: float) -> Array:
        """Return entries limited to -bound and bound."""
        return np.clip(x, -np.float32(bound), np.float32(bound))

    def rotate(self, x: Array, position: Index, cos: Array, sin: Array) -> Array:
        """Return rotated heads: a copy, because a `Linear` may keep its outputs."""
        out = x.copy()
        rotate(out, position, cos, sin)
        return out

    def attend(
        self,
        q: Array,
        slots: Index,
        position: Index,
        keys: Array,
        values: Array,
        scale: float,
    ) -> Array:
        """Return the mixed values."""
        out = np.empty((*q.shape[:2], values.shape[3]), dtype=np.float32)
        attend(q, slots, position, keys, values, np.float32(scale), out)
        return out
