"""Softmax of router logits and the choice of the k largest."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cimsim.elementary_arrays import exp_number
from cimsim.kernel_cache import cached

__all__ = ["select"]

Array = NDArray[np.float32]


@cached
@njit(nogil=True)
def _select(
    logits: Array,
    renormalise: bool,  # noqa: FBT001 - Numba calls positionally
    scale: float,
    experts: NDArray[np.int16],
    gates: Array,
) -> None:
    top_k = experts.shape[1]
    n_experts = logits.shape[1]
    taken = np.empty(n_experts, dtype=np.bool_)
    weight = np.empty(n_experts, dtype=np.float64)
    for i in range(logits.shape[0]):
        taken[:] = False
        for rank in range(top_k):
            best = -1
            for e in range(n_experts):
                # Strictly greater: of equal logits the lower expert index wins.
                if not taken[e] and (best < 0 or logits[i, e] > logits[i, best]):
                    best = e
            taken[best] = True
            experts[i, rank] = best
        top = np.float64(logits[i, experts[i, 0]])
        for e in range(n_experts):
            weight[e] = exp_number(np.float64(logits[i, e]) - top)
        total = 0.0
        chosen = 0.0
        for e in range(n_experts):
            total += weight[e]
            if taken[e]:
                chosen += weight[e]
        denominator = chosen if renormalise else total
        for rank in range(top_k):
            gates[i, rank] = np.float32(weight[experts[i, rank]] / denominator * scale)


def select(
    logits: Array, top_k: int, *, renormalise: bool, scale: float
) -> tuple[NDArray[np.int16], Array]:
    """Choose the experts of each token and weigh them by the softmax over all experts.

    Args:
        logits: float32 [n, experts]; -inf masks an expert.
        top_k: experts per token.
        renormalise: divide the gates by their sum over the chosen experts.
        scale: factor on every gate.

    Returns:
        int16 [n, k] experts from the largest logit down, ties to the lower index, and
        float32 [n, k] gates.
    """
    experts = np.empty((logits.shape[0], top_k), dtype=np.int16)
    gates = np.empty((logits.shape[0], top_k), dtype=np.float32)
    _select(logits, renormalise, scale, experts, gates)
    return experts, gates
