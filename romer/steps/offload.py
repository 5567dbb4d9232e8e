"""Digital offload: parts of the model leave the noisy cells.

`offload_fragile` sends the experts with the greatest maximum neuron norm to digital units,
after the rule of Chowdhury et al. (arXiv 2603.02633), as many as the MAC budget allows at
the load that the noisy routers show; `offload_random` spends the same budget on experts
drawn at random, which says what the rule is worth; `offload_attention` and `offload_router`
move all attention projections or all routers, whatever that costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cimsim.model import Correction
from cimsim.workload.matrix import MatrixId
from romer.record import Routers
from romer.registry import register_step
from romer.steps.low_rank import MAC_SHARE
from romer.task import Task

__all__ = [
    "neuron_norm",
    "offload_attention",
    "offload_fragile",
    "offload_random",
    "offload_router",
]

Expert = tuple[int, int]

RANDOM_KEY = 603_02633  # of the drawn experts: a fixed choice, the same for every chip


def neuron_norm(task: Task, layer: int, expert: int) -> float:
    """Return the greatest norm of an expert's neurons, over gate, up and down."""
    largest = 0.0
    for role, axis in (("gate", 0), ("up", 0), ("down", 1)):
        weight = task.decoder.checkpoint.matrix(MatrixId(layer, role, expert))
        squares = np.square(weight, dtype=np.float64).sum(axis=axis)
        largest = max(largest, float(np.sqrt(squares.max())))
    return largest


@register_step("offload_fragile")
def offload_fragile(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Offload the experts with the greatest neuron norm within the budget."""
    norms = {e: neuron_norm(task, *e) for e in _experts(routers)}
    order = sorted(norms, key=lambda e: (-norms[e], e))
    return _offload(task, correction, routers, order)


@register_step("offload_random")
def offload_random(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Offload experts drawn at random within the same budget."""
    experts = _experts(routers)
    draw = np.random.Generator(np.random.Philox(key=RANDOM_KEY)).permutation(len(experts))
    return _offload(task, correction, routers, [experts[i] for i in draw])


@register_step("offload_attention")
def offload_attention(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Compute the attention projections digitally."""
    del routers
    if "attention" not in task.analog or "attention" in correction.offload_parts:
        return correction
    return replace(correction, offload_parts=(*correction.offload_parts, "attention"))


@register_step("offload_router")
def offload_router(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Compute the routers digitally, with their clean weights: no refit."""
    del routers
    if "router" not in task.analog or "router" in correction.offload_parts:
        return correction
    return replace(correction, offload_parts=(*correction.offload_parts, "router"))


def _experts(routers: Routers) -> list[Expert]:
    return [(layer, e) for layer, load in routers().load.items() for e in range(len(load))]


def _offload(
    task: Task, correction: Correction, routers: Routers, order: Sequence[Expert]
) -> Correction:
    """Take experts in order as long as their MACs per token fit into the budget."""
    if "experts" not in task.analog:
        return correction
    program = task.decoder.checkpoint.program
    left = MAC_SHARE * program.linear_macs_per_token()
    chosen: list[Expert] = []
    for layer, expert in order:
        size = sum(m.size for m in program.layers[layer].experts[expert])
        cost = float(routers().load[layer][expert]) * size
        if cost <= left:
            chosen.append((layer, expert))
            left -= cost
    return replace(correction, offload_experts=tuple(sorted(chosen)))
