"""Loading experts before they are asked for.

When a flight visits a layer, the prefetcher keeps or loads the experts of the next layer that
tokens of earlier flights most often chose after the same experts, at most as many as a token has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.events.machine import Machine
from cimsim.engine.events.slots import load, touch, victim
from cimsim.engine.noc.kernel import inner

__all__ = ["prefetch"]

Int64 = NDArray[np.int64]
NONE = -1
MOST = 1 << 62


@inner
def _rank(scores: Int64, highest: Int64) -> None:
    """Find where the highest scores (at least 0) are, best first, of equal ones the first.

    Args:
        scores: what to rank.
        highest: out, [at most as many], indices.
    """
    last, bound = NONE, MOST
    for k in range(highest.size):
        best = NONE
        for e in range(scores.size):
            after = scores[e] < bound or (scores[e] == bound and e > last)
            if after and (best == NONE or scores[e] > scores[best]):
                best = e
        highest[k], last, bound = best, best, scores[best]


@inner
def _score(x: Machine, flight: int, layer: int) -> None:
    """Count how often each expert of the next layer followed those that the flight chose."""
    row, n_experts = x.flight[flight], x.fixed[0].n_experts
    for e in range(n_experts):
        x.scores[e] = 0
    for i in range(row.first, row.first + row.size):
        for a in range(x.fixed[0].top_k):
            chosen = x.experts[i, layer, a]
            for e in range(n_experts):
                x.scores[e] += x.followed[layer, chosen, e]


@inner
def prefetch(x: Machine, flight: int, layer: int) -> None:
    """Keep or load the experts that the flight will probably choose in the next layer."""
    row, n_experts, k = x.flight[flight], x.fixed[0].n_experts, x.fixed[0].top_k
    if layer > 0:
        for i in range(row.first, row.first + row.size):
            for a in range(k):
                for b in range(k):
                    x.followed[layer - 1, x.experts[i, layer - 1, a], x.experts[i, layer, b]] += 1
    if layer + 1 == x.experts.shape[1]:
        return
    _score(x, flight, layer)
    _rank(x.scores, x.likely)
    base = (layer + 1) * n_experts
    for e in x.likely:
        if x.scores[e] > 0 and x.expert[base + e].slot != NONE:
            touch(x, x.expert[base + e].slot)
    for e in x.likely:
        expert = x.expert[base + e]
        wanted = x.scores[e] > 0 and expert.write_ps > 0 and expert.slot == NONE
        if wanted and x.chip[expert.home].queued == 0:
            slot = victim(x, expert.home)
            if slot != NONE:
                load(x, base + e, slot)
