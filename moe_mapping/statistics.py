"""Load and co-activation statistics of routing traces.

A trace is an integer array [tokens, layers, k]: the experts that a token visits in every
MoE layer, as vLLM, SGLang and llama.cpp dump them and `cimsim.workload.trace` stores them. How
uneven a load is and how far it moved: `max_over_mean` and `total_variation` of
`cimsim.results.statistics`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cimsim.errors import CimsimError

__all__ = [
    "check_trace",
    "coactivation",
    "load",
    "transitions",
    "window_loads",
]

Ints = NDArray[np.int64]


def check_trace(experts: NDArray[np.integer], n_experts: int) -> Ints:
    """Return a trace as int64 [tokens, layers, k].

    Raises:
        CimsimError: if it is not a three-dimensional array of experts that exist.
    """
    array = np.asarray(experts)
    if array.ndim != 3 or not array.size or not np.issubdtype(array.dtype, np.integer):
        raise CimsimError(
            "a routing trace must be integers of shape [tokens, layers, k]",
            value=f"{array.dtype} {array.shape}",
        )
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= n_experts:
        raise CimsimError(
            "a routing trace names an expert that does not exist",
            value=low if low < 0 else high,
            allowed=f"0 to {n_experts - 1}",
        )
    return array.astype(np.int64)


def load(experts: NDArray[np.integer], n_experts: int) -> Ints:
    """Return token visits of every expert, [layers, experts]."""
    trace = check_trace(experts, n_experts)
    layers = trace.shape[1]
    numbered = trace + np.arange(layers)[:, None] * n_experts
    counts = np.bincount(numbered.ravel(), minlength=layers * n_experts)
    return np.asarray(counts.reshape(layers, n_experts), dtype=np.int64)


def window_loads(experts: NDArray[np.integer], n_experts: int, window_tokens: int) -> Ints:
    """Return loads over time, [windows, layers, experts]; the last window may be shorter.

    Args:
        experts: the trace, tokens in order of time.
        n_experts: routed experts per layer.
        window_tokens: tokens of a window.

    Raises:
        CimsimError: for a window without tokens.
    """
    if window_tokens < 1:
        raise CimsimError("a window needs at least one token", value=window_tokens, allowed=">= 1")
    trace = check_trace(experts, n_experts)
    starts = range(0, trace.shape[0], window_tokens)
    return np.stack([load(trace[s : s + window_tokens], n_experts) for s in starts])


def coactivation(experts: NDArray[np.integer], n_experts: int, layer: int) -> Ints:
    """Return how many tokens chose both experts of a pair in one layer, [experts, experts].

    Symmetric with zero diagonal: counts[a, b] = number of tokens whose choice holds a and b.
    """
    chosen = _choices(check_trace(experts, n_experts)[:, layer], n_experts)
    counts = np.asarray((chosen.T @ chosen).toarray(), dtype=np.int64)
    np.fill_diagonal(counts, 0)
    return counts


def transitions(experts: NDArray[np.integer], n_experts: int, layer: int) -> Ints:
    """Return how many tokens went from expert a to b of the next layer, [experts, experts].

    Args:
        experts: the trace.
        n_experts: routed experts per layer.
        layer: layer of a, in the order of the trace; b is one layer later.
    """
    trace = check_trace(experts, n_experts)
    if not 0 <= layer < trace.shape[1] - 1:
        raise CimsimError(
            "transitions need a layer that is followed by another",
            value=layer,
            allowed=f"0 to {trace.shape[1] - 2}",
        )
    here, there = (_choices(trace[:, i], n_experts) for i in (layer, layer + 1))
    return np.asarray((here.T @ there).toarray(), dtype=np.int64)


def _choices(chosen: Ints, n_experts: int) -> sparse.csr_array:
    """Return 1 where a token visits an expert, [tokens, experts]."""
    tokens, k = chosen.shape
    rows = np.repeat(np.arange(tokens), k)
    shape = (tokens, n_experts)
    marks = sparse.coo_array((np.ones(rows.size, dtype=np.int64), (rows, chosen.ravel())), shape)
    return sparse.csr_array(marks)
