"""Belady's optimum: the most hits that any policy could have had on the same requests."""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

__all__ = ["belady_hits"]

NONE = -1


def belady_hits(requests: NDArray[np.int64], initial: NDArray[np.int64]) -> int:
    """Return the hits of the policy that gives up the expert needed again last.

    An expert is loaded when it is asked for and not before (demand fetching), which no other
    such policy beats (Belady, IBM Systems Journal 5(2), 1966).

    Args:
        requests: expert ids in the order in which they were asked for.
        initial: [slots], expert that each slot holds at the start, or -1.
    """
    n = len(requests)
    if n == 0 or len(initial) == 0:
        return 0
    next_use = np.full(n, n, dtype=np.int64)
    last: dict[int, int] = {}
    order = requests.tolist()
    for at in range(n - 1, -1, -1):
        next_use[at] = last.get(order[at], n)
        last[order[at]] = at
    # `last` now holds the first use of every expert.
    due = {int(e): last.get(int(e), n) for e in initial if e != NONE}
    heap = [(-when, expert) for expert, when in due.items()]
    heap.sort()
    hits = 0
    for expert, following in zip(order, next_use.tolist(), strict=True):
        if expert in due:
            hits += 1
        elif len(due) == len(initial):
            while True:  # entries that were overtaken by a later request are stale
                when, victim = heappop(heap)
                if due.get(victim) == -when:
                    break
            del due[victim]
        due[expert] = following
        heappush(heap, (-following, expert))
    return hits
