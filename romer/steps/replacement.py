"""Expert replacement: cold slots get hot experts (our readings E1, E2, E3 of ROMER).

An expert is cold if, under noise, fewer than tau k / E of the tokens choose it. The j-th
coldest slot is rewritten with the j-th hottest expert of its layer. In E1 the slot keeps
its router row; in E2 it takes over the row too and the two copies' outputs are averaged;
E3 rewrites a fixed number of slots whatever their load.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cimsim.model import Correction, SlotRewrite
from romer.record import Routers
from romer.task import Task

__all__ = ["COLD_SHARE", "copy_weights_and_row", "rewrite_fixed_count", "rewrite_weights"]

COLD_SHARE = 0.1  # tau: share of the mean load below which an expert is cold
FIXED_SHARE = 16  # E3 rewrites one slot in this many


def rewrite_weights(task: Task, correction: Correction, routers: Routers) -> Correction:
    """E1: rewrite cold slots' weights; the router stays as it is."""
    return _replace(task, correction, routers, copy_router=False, count=None)


def copy_weights_and_row(task: Task, correction: Correction, routers: Routers) -> Correction:
    """E2: a cold slot becomes a second copy of a hot expert, outputs averaged."""
    return _replace(task, correction, routers, copy_router=True, count=None)


def rewrite_fixed_count(task: Task, correction: Correction, routers: Routers) -> Correction:
    """E3: the E / 16 coldest slots become second copies of the hottest experts."""
    experts = max(len(load) for load in routers().load.values())
    return _replace(
        task, correction, routers, copy_router=True, count=max(1, experts // FIXED_SHARE)
    )


def _replace(
    task: Task,
    correction: Correction,
    routers: Routers,
    *,
    copy_router: bool,
    count: int | None,
) -> Correction:
    if "experts" not in task.analog:
        return correction
    rewrites = list(correction.rewrites)
    for layer, load in routers().load.items():
        if any(r.layer == layer for r in rewrites):
            continue
        order = np.argsort(load, kind="stable")
        mean = load.mean()
        cold = [int(e) for e in order if load[e] < COLD_SHARE * mean]
        if count is not None:
            cold = [int(e) for e in order[:count]]
        # Never more slots than there are experts left to copy.
        cold = cold[: len(load) // 2]
        hot = [int(e) for e in order[::-1][: len(cold)]]
        rewrites += [
            SlotRewrite(layer, slot, source, copy_router=copy_router, sharing="average")
            for slot, source in zip(cold, hot, strict=True)
        ]
    if len(rewrites) == len(correction.rewrites):
        return correction
    return replace(correction, rewrites=tuple(rewrites))
