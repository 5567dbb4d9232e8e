"""Softmax of router logits and the choice of the k largest."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cimsim.elementary_arrays import exp_number
from cimsim.kernel_cache import cached
from cimsim.workload.choice import GroupedChoice

__all__ = ["select", "select_in_groups"]

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


@cached
@njit(nogil=True)
def _scores(logits: Array, softmax: bool, out: NDArray[np.float64]) -> None:  # noqa: FBT001
    """Write the softmax or the sigmoids of one token's logits; -inf has no share."""
    total = 1.0
    if softmax:
        top, total = np.float64(logits.max()), 0.0
        for e in range(logits.shape[0]):
            out[e] = exp_number(np.float64(logits[e]) - top)
            total += out[e]
    for e in range(logits.shape[0]):
        if softmax:
            out[e] /= total
        else:
            out[e] = 1.0 / (1.0 + exp_number(-np.float64(logits[e])))


@cached
@njit(nogil=True)
def _keep_best_groups(
    value: NDArray[np.float64], groups: int, chosen: int, summed: int, rank: NDArray[np.float64]
) -> None:
    """Set to -inf what is not in the best groups by the sum of their `summed` best values."""
    size = value.shape[0] // groups
    for g in range(groups):
        first, second = -np.inf, -np.inf
        for v in value[g * size : (g + 1) * size]:
            if v > first:
                first, second = v, first
            elif v > second:
                second = v
        rank[g] = first + second if summed == 2 else first
    for _ in range(groups - chosen):
        worst = -1
        for g in range(groups):
            # Of equal groups the higher index goes first, and none goes twice.
            if not np.isnan(rank[g]) and (worst < 0 or rank[g] <= rank[worst]):
                worst = g
        rank[worst] = np.nan
        value[worst * size : (worst + 1) * size] = -np.inf


@cached
@njit(nogil=True)
def _select_in_groups(
    logits: Array,
    bias: NDArray[np.float64],
    rule: tuple[bool, int, int, int],
    renormalise: bool,  # noqa: FBT001 - Numba calls positionally
    scale: float,
    experts: NDArray[np.int16],
    gates: Array,
) -> None:
    softmax, groups, chosen, summed = rule
    n_experts, top_k = logits.shape[1], experts.shape[1]
    score, value = np.empty(n_experts), np.empty(n_experts)
    rank = np.empty(groups)
    for i in range(logits.shape[0]):
        _scores(logits[i], softmax, score)
        for e in range(n_experts):
            value[e] = -np.inf if logits[i, e] == -np.inf else score[e] + bias[e]
        _keep_best_groups(value, groups, chosen, summed, rank)
        total = 1e-20  # as in the published code
        for place in range(top_k):
            best = -1
            for e in range(n_experts):
                if not np.isnan(value[e]) and (best < 0 or value[e] > value[best]):
                    best = e
            value[best] = np.nan
            experts[i, place] = best
            total += score[best]
        denominator = total if renormalise else 1.0
        for place in range(top_k):
            gates[i, place] = np.float32(score[experts[i, place]] / denominator * scale)


def select_in_groups(
    logits: Array,
    bias: Array | None,
    top_k: int,
    choice: GroupedChoice,
    *,
    renormalise: bool,
    scale: float,
) -> tuple[NDArray[np.int16], Array]:
    """Choose the experts of each token from its best groups of experts.

    Args:
        logits: float32 [n, experts]; -inf masks an expert.
        bias: float32 [experts], added to scores for the choice alone, or None.
        top_k: experts per token.
        choice: what scores are and how groups are ranked.
        renormalise: divide the gates by their sum over the chosen experts.
        scale: factor on every gate.

    Returns:
        int16 [n, k] experts from the best down, ties to the lower index, and float32 [n, k] gates.
    """
    shape = (logits.shape[0], top_k)
    experts, gates = np.empty(shape, dtype=np.int16), np.empty(shape, dtype=np.float32)
    added = np.zeros(logits.shape[1]) if bias is None else bias.astype(np.float64)
    summed = 2 if choice.rank == "best_two" else 1
    rule = (choice.score == "softmax", choice.groups, choice.chosen_groups, summed)
    _select_in_groups(logits, added, rule, renormalise, scale, experts, gates)
    return experts, gates
