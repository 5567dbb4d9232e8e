"""Expert replacement: cold slots get hot experts (our readings E1, E2, E3 of ROMER).

An expert is cold if, under noise, fewer than tau k / E of the tokens choose it. The j-th
coldest slot is rewritten with the j-th hottest expert of its layer. In E1 the slot keeps
its router row; in E2 it takes over the row too and the two copies' outputs are averaged, or
its tokens are shared out between them; E3 rewrites a fixed number of slots whatever their load.
A chip that switches experts on demand has no slot that belongs to one expert: nothing is
replaced there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.model import Correction, SlotRewrite
from romer.record import Routers
from romer.registry import Number, register_step
from romer.steps.trim import trimmed_again
from romer.task import Task

__all__ = [
    "COLD_SHARE",
    "copy_and_split_load",
    "copy_weights_and_row",
    "rewrite_fixed_count",
    "rewrite_weights",
]

Floats = NDArray[np.float64]

COLD_SHARE = 0.1  # tau: share of the mean load below which an expert is cold
COLD = Number("share of the mean load below which an expert is cold", 0.0, 1.0)
FIXED_SHARE = 16  # E3 rewrites one slot in this many


@register_step("replace_e1", COLD)
def rewrite_weights(
    task: Task, correction: Correction, routers: Routers, amount: float = COLD_SHARE
) -> Correction:
    """E1: rewrite cold slots' weights; the router stays as it is."""
    return _replace(task, correction, routers, _cold(routers, amount), copy_router=False)


@register_step("replace_e2", COLD)
def copy_weights_and_row(
    task: Task, correction: Correction, routers: Routers, amount: float = COLD_SHARE
) -> Correction:
    """E2: a cold slot becomes a second copy of a hot expert, outputs averaged."""
    return _replace(task, correction, routers, _cold(routers, amount), copy_router=True)


@register_step("replace_e2_split", COLD)
def copy_and_split_load(
    task: Task, correction: Correction, routers: Routers, amount: float = COLD_SHARE
) -> Correction:
    """E2 with split load: each token of the hot expert goes to one of the two copies."""
    cold = _cold(routers, amount)
    return _replace(task, correction, routers, cold, copy_router=True, sharing="split")


@register_step("replace_e3")
def rewrite_fixed_count(task: Task, correction: Correction, routers: Routers) -> Correction:
    """E3: the E / 16 coldest slots become second copies of the hottest experts."""
    experts = max(len(load) for load in routers().load.values())
    count = max(1, experts // FIXED_SHARE)
    slots = {layer: _coldest_first(load)[:count] for layer, load in routers().load.items()}
    return _replace(task, correction, routers, slots, copy_router=True)


def _coldest_first(load: Floats) -> list[int]:
    return [int(e) for e in np.argsort(load, kind="stable")]


def _cold(routers: Routers, share: float) -> dict[int, list[int]]:
    """Return the experts of each layer that are cold, the coldest first."""
    return {
        layer: [e for e in _coldest_first(load) if load[e] < share * load.mean()]
        for layer, load in routers().load.items()
    }


def _replace(
    task: Task,
    correction: Correction,
    routers: Routers,
    slots: dict[int, list[int]],
    *,
    copy_router: bool,
    sharing: Literal["average", "split"] = "average",
) -> Correction:
    if "experts" not in task.analog:
        return correction
    rewrites = list(correction.rewrites)
    for layer, load in routers().load.items():
        if any(r.layer == layer for r in rewrites):
            continue
        if not all(task.deployment.copies(layer, expert) for expert in range(len(load))):
            continue
        # Never more slots than there are experts left to copy.
        cold = slots[layer][: len(load) // 2]
        hot = _coldest_first(load)[::-1][: len(cold)]
        rewrites += [
            SlotRewrite(layer, slot, source, copy_router=copy_router, sharing=sharing)
            for slot, source in zip(cold, hot, strict=True)
        ]
    if len(rewrites) == len(correction.rewrites):
        return correction
    new = {(r.layer, r.slot) for r in rewrites[len(correction.rewrites) :]}
    matrices = task.decoder.program.matrices() if correction.trims else ()
    changed = {
        m.id for m in matrices if m.id.part == "experts" and (m.id.layer, m.id.expert) in new
    }
    return trimmed_again(task, replace(correction, rewrites=tuple(rewrites)), changed)
