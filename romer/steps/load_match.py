"""Iterative load matching: biases until noisy routers load experts as clean ones do.

Over the recorded logits z of FIT text, with f the clean load and f_b that of the k greatest z + b
of each token::

    b <- b + damping s (log(f + 1/n) - log(f_b + 1/n)),   s = mean over experts of sd(z_e)

an expert that is chosen too rarely rises by what a step of its logits is worth. Of `ROUNDS` rounds
the b of least total variation is kept; 0 is one of them, so that the load on FIT text is never
further from the clean one than it was.
Biases that balance load stand in DeepSeek-V3 (arXiv 2412.19437),
where training moves them; here the clean load is what is asked for.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.model import Correction
from romer.record import Routers
from romer.registry import Number, register_step
from romer.steps.fragment import affine_logits
from romer.task import Task

__all__ = ["ROUNDS", "load_match", "matching_bias"]

ROUNDS = 40
DAMPING = 0.3

Floats = NDArray[np.float64]


@register_step("load_match", Number("damping of a round", 0.01, 2.0))
def load_match(
    task: Task, correction: Correction, routers: Routers, amount: float = DAMPING
) -> Correction:
    """Bias experts, round by round, until their load on FIT text is the clean one."""
    offset = dict(correction.router_offset)
    for layer, logits in routers().logits.items():
        top_k = task.decoder.program.layers[layer].top_k
        z = affine_logits(correction, layer, logits)
        bias = matching_bias(z, task.reference.fit.load[layer], top_k, amount)
        known = offset.get(layer, np.zeros(z.shape[1], dtype=np.float32))
        offset[layer] = (known + bias).astype(np.float32)
    return replace(correction, router_offset=offset)


def matching_bias(logits: Floats, load: Floats, top_k: int, damping: float) -> Floats:
    """Return the bias of each expert, float64 [experts].

    Args:
        logits: float64 [n, experts].
        load: float64 [experts], the share of tokens that should choose an expert.
        top_k: experts per token.
        damping: share of a step that a round takes.
    """
    n, experts = logits.shape
    unit = float(logits.std(axis=0).mean())
    bias = best = np.zeros(experts)
    least = np.inf
    for _ in range(ROUNDS):
        chosen = np.argsort(-(logits + bias), axis=1, kind="stable")[:, :top_k]
        found = np.bincount(chosen.ravel(), minlength=experts) / n
        apart = float(np.abs(found - load).sum())
        if apart < least:
            least, best = apart, bias
        bias = bias + damping * unit * np.log((load + 1.0 / n) / (found + 1.0 / n))
    return best
