"""Whether a step is kept: it must lower the loss on documents that it was not fitted on.

The loss of ACCEPT text is compared token by token with fresh read noise. Neighbouring
tokens are not independent, so differences are averaged over blocks first; a step is kept
if the mean gain exceeds one standard error over blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.model import Correction
from romer.task import Task

__all__ = ["Verdict", "accept_loss", "compare"]

BLOCK_TOKENS = 32


@dataclass(frozen=True)
class Verdict:
    """Outcome of one comparison.

    Attributes:
        step: name of the step.
        gain_nats: mean decrease of the loss, nats a token.
        error_nats: its standard error over blocks.
        kept: whether the gain exceeds one standard error.
    """

    step: str
    gain_nats: float
    error_nats: float
    kept: bool


def accept_loss(task: Task, correction: Correction) -> NDArray[np.float64]:
    """Return the loss of the ACCEPT text under a correction, float64 [windows, context - 1]."""
    linear = task.deployment.linear(correction, read_seed=task.read_seeds[1], mode=task.mode)
    windows = task.text.accept
    # Numbers that no FIT window has: the address of the read noise differs too.
    sequences = len(task.text.fit) + np.arange(len(windows), dtype=np.int64)
    scored = task.decoder.score(windows, linear, sequences=sequences, correction=correction)
    return scored.nll


def compare(step: str, before: NDArray[np.float64], after: NDArray[np.float64]) -> Verdict:
    """Compare two losses of the same tokens.

    Args:
        step: name of the step.
        before: float64 [windows, context - 1] in nats.
        after: the same with the step.
    """
    gain = (before - after).ravel()
    blocks = np.array_split(gain, max(2, gain.size // BLOCK_TOKENS))
    means = np.array([b.mean() for b in blocks])
    error = float(means.std(ddof=1) / np.sqrt(len(means)))
    mean = float(gain.mean())
    return Verdict(step, mean, error, kept=mean > error)
