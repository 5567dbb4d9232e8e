"""Router refit: least squares from noisy hidden states to clean logits.

For a layer with noisy router inputs H [n, d] and clean logits Z [n, E],
W' = W + (H^T H + mu n I)^-1 H^T (Z - H W): ridge towards the clean weights W, so that few
tokens change little. All layers are fitted at once on the states of the pass so far; where
the router is analog its cells are reprogrammed, with new noise, else the refit is digital.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from cimsim.model import Correction, RouterRefit
from cimsim.workload.matrix import MatrixId
from romer.record import Routers
from romer.registry import register_step
from romer.steps.trim import trimmed_again
from romer.task import Task

__all__ = ["refit_router"]

# mu, in units of the mean square of a router input: found on development chips. Less fits
# the noise of 3,000 tokens, and weights that grow far are programmed with more error.
RIDGE = 0.3


@register_step("router_refit")
def refit_router(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Refit every router to give clean logits from noisy hidden states."""
    where: Literal["digital", "reprogrammed"]
    where = "reprogrammed" if "router" in task.analog else "digital"
    refits, algebra = {}, task.algebra
    for layer, states in routers().inputs.items():
        inputs = algebra.array(states)
        weight = algebra.array(task.decoder.checkpoint.matrix(MatrixId(layer, "router")))
        wanted = algebra.array(task.reference.fit.logits[layer])
        missing = wanted - algebra.product(inputs, weight)
        factors = algebra.ridged(algebra.gram_matrix(inputs, inputs), RIDGE, 0.0)
        change = factors.rest(factors.half(algebra.gram_matrix(inputs, missing)))
        refits[layer] = RouterRefit(algebra.host(weight + change), where)
    changed = {MatrixId(layer, "router") for layer in refits}
    refitted = replace(
        correction,
        router_refit=refits,
        router_scale={},
        router_offset={},
        # Terms that were fitted to the old cells no longer hold.
        columns={m: c for m, c in correction.columns.items() if m not in changed},
        low_rank={m: c for m, c in correction.low_rank.items() if m not in changed},
    )
    return trimmed_again(task, refitted, changed) if where == "reprogrammed" else refitted
