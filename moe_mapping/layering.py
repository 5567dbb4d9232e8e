"""Replicas where they shorten single layers: a start for plans that weigh layers.

The busiest unit of a layer sets the layer's slowest tile. The next replica goes where that
falls most for each crossbar, the sum over layers being what counts; where nothing falls at
once (two units of a layer are equally busy) to the largest share.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from moe_mapping.packing import pack, sites_of
from moe_mapping.state import Fixed, WorkingPlan

__all__ = ["layer_counts", "layered"]

Ints = NDArray[np.int64]


def layered(fixed: Fixed) -> WorkingPlan:
    """Return copies chosen for layers, packed longest first."""
    return pack(fixed, layer_counts(fixed))


def layer_counts(fixed: Fixed) -> Ints:
    """Return copies of every unit, int64 [U]; spends the budget as far as units can use it."""
    counts = np.ones(fixed.need.size, dtype=np.int64)
    most = [int(fixed.limits[1]) * len(sites_of(fixed, u)) for u in range(counts.size)]
    layers: list[list[tuple[float, int]]] = [[] for _ in range(int(fixed.layer.max()) + 1)]
    for u in range(counts.size):
        layers[fixed.layer[u]].append((-float(fixed.time_ps[u]), u))
    for heap in layers:
        heapq.heapify(heap)
    left = int(fixed.limits[0])
    offers = [_offer(fixed, heap, counts) for heap in layers]
    while True:
        best = max(range(len(layers)), key=offers.__getitem__)
        if offers[best] == _NO_OFFER:
            return counts
        heap = layers[best]
        _, u = heap[0]
        fits = fixed.replicable[u] and counts[u] < most[u] and fixed.need[u] <= left
        if fits:
            counts[u] += 1
            left -= int(fixed.need[u])
            heapq.heapreplace(heap, (-float(fixed.time_ps[u]) / int(counts[u]), u))
            offers[best] = _offer(fixed, heap, counts)
        else:
            offers[best] = _NO_OFFER  # its slowest tile falls no more


_NO_OFFER = (-1.0, -1.0)


def _offer(fixed: Fixed, heap: list[tuple[float, int]], counts: Ints) -> tuple[float, float]:
    """Return (time saved per crossbar, share) of one more copy of a layer's busiest unit."""
    share, u = -heap[0][0], heap[0][1]
    second = max((-pair[0] for pair in heap[1:3]), default=0.0)
    after = max(second, float(fixed.time_ps[u]) / (int(counts[u]) + 1))
    return (share - after) / int(fixed.need[u]), share
