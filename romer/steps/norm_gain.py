"""Gain of each channel of the norms, so that noisy normed states lean on the clean ones.

gain = sum(clean noisy) / sum(noisy^2) over the FIT tokens, per channel: the least-squares
share of the noisy signal that is clean. Few tokens shrink it towards 1. It is folded into
the norm's own gain and costs nothing at inference.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.model import Correction
from romer.algebra import Algebra
from romer.record import Routers
from romer.registry import register_step
from romer.task import Task

__all__ = ["fit_norm_gain"]

PRIOR_TOKENS = 32.0  # weight of "gain 1" in tokens


@register_step("norm_gain")
def fit_norm_gain(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Fit the gain of every norm before attention and before an expert block."""
    noisy, clean = routers(), task.reference.fit
    gains = dict(correction.norm_gain)
    for norm, seen, wanted in (
        ("attention", noisy.attention_inputs, clean.attention_inputs),
        ("block", noisy.inputs, clean.inputs),
    ):
        for layer, states in seen.items():
            known = gains.get((layer, norm), np.float32(1.0))
            gain = _gain(states, wanted[layer], task.algebra)
            gains[(layer, norm)] = (gain * known).astype(np.float32)
    return replace(correction, norm_gain=gains)


def _gain(
    noisy: NDArray[np.float32], clean: NDArray[np.float32], algebra: Algebra
) -> NDArray[np.float64]:
    states = algebra.array(noisy)
    sums = algebra.column_moments(states, algebra.array(clean))
    power, shared = algebra.host64(sums.xx), algebra.host64(sums.xy)
    prior = PRIOR_TOKENS / len(noisy) * power + 1e-12
    return np.asarray((shared + prior) / (power + prior))
