"""Whether a step is kept: it must lower the loss on documents that it was not fitted on.

Two losses of the ACCEPT text are compared token by token, with fresh read noise:

* the text's own: -log p(next token), what perplexity is made of;
* the expected one, -sum_v p_clean(v) log p(v): what the text's loss would be in the mean
  if the clean model's predictions were the truth. It does not depend on which token
  happened to come next, so its standard error over the same tokens is several times
  smaller, and a few windows decide what otherwise takes many.

A step is kept if it lowers the expected loss by at least two paired standard errors and at
least `calibration.min_gain_nats`: neither chance nor another order of sums should decide, nor
what is too small to matter. The text's own loss only forbids: a step is dropped if it raises
that by two standard errors; its sign alone would be a coin toss.
Neighbouring tokens are not independent: differences are averaged over blocks first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.model import Correction, Linear
from romer.task import WINDOWS_AT_ONCE, Task

__all__ = ["AcceptLoss", "Verdict", "accept_loss", "compare"]

BLOCK_TOKENS = 32
LEAST_ERRORS = 2.0  # standard errors that tell a gain, or a loss, from chance


@dataclass(frozen=True)
class AcceptLoss:
    """Losses of the ACCEPT text, token by token.

    Attributes:
        text: float64 [windows, context - 1], nats.
        expected: float64 [windows, context - 1], nats above the clean model's own entropy.
    """

    text: NDArray[np.float64]
    expected: NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """Outcome of one comparison.

    Attributes:
        step: name of the step.
        gain_nats: mean decrease of the expected loss, nats per token.
        error_nats: its standard error over blocks; infinite for a single token.
        needed_nats: the gain that a step needs to be kept.
        text_gain_nats: mean decrease of the text's own loss.
        text_error_nats: its standard error over blocks.
        kept: whether the step is part of the correction.
    """

    step: str
    gain_nats: float
    error_nats: float
    needed_nats: float
    text_gain_nats: float
    text_error_nats: float
    kept: bool

    @property
    def marginal(self) -> bool:
        """Whether the gain is within one standard error of what is needed: a near thing."""
        return abs(self.gain_nats - self.needed_nats) < self.error_nats

    def sentence(self) -> str:
        """Return the verdict in words."""
        word = "kept" if self.kept else "dropped"
        near = " (marginal)" if self.marginal else ""
        return (
            f"{self.step}: {word}{near}, gain {self.gain_nats:+.4f} +- {self.error_nats:.4f} nats "
            f"per token, {self.needed_nats:.4f} needed"
        )


def accept_loss(task: Task, correction: Correction) -> AcceptLoss:
    """Return the losses of the ACCEPT text under a correction.

    Raises:
        CimsimError: if the model's predictions are not finite.
    """
    mode = task.accept_mode or task.mode
    linear = task.deployment.linear(correction, read_seed=task.read_seeds[1], mode=mode)
    task.passed.tokens += task.text.accept.size
    return loss_of(task, linear, correction)


def loss_of(task: Task, linear: Linear, correction: Correction | None) -> AcceptLoss:
    """Return the losses of the ACCEPT text with given products."""
    windows, algebra = task.text.accept, task.algebra
    # Numbers that no FIT window has: the address of the read noise differs too.
    sequences = len(task.text.fit) + np.arange(len(windows), dtype=np.int64)
    logits = task.decoder.logits(
        windows, linear, sequences=sequences, correction=correction, at_once=WINDOWS_AT_ONCE
    )
    text, expected, start = [], [], 0
    for clean, found in zip(task.reference.accept_log_p, logits, strict=True):
        following = windows[start : start + len(found), 1:]
        nll, apart = algebra.losses(algebra.log_probabilities(found[:, :-1]), clean, following)
        text.append(nll)
        expected.append(apart)
        start += len(found)
    loss = AcceptLoss(np.concatenate(text), np.concatenate(expected))
    if not (np.isfinite(loss.text).all() and np.isfinite(loss.expected).all()):
        raise CimsimError(
            "the noisy model's loss on calibration text is not finite",
            key="calibration.method",
            hint="the chip is too noisy to calibrate, or its ADC range clips everything",
        )
    return loss


def compare(step: str, before: AcceptLoss, after: AcceptLoss, *, min_gain_nats: float) -> Verdict:
    """Compare two losses of the same tokens.

    Args:
        step: name of the step.
        before: without the step.
        after: with it.
        min_gain_nats: least decrease of the expected loss that keeps a step, nats per token.
    """
    gain, error = _paired(before.expected - after.expected)
    text_gain, text_error = _paired(before.text - after.text)
    needed = max(LEAST_ERRORS * error, min_gain_nats)
    # A step that changes nothing gains nothing, whatever the threshold.
    helps = gain > 0.0 and gain >= needed
    harms = text_gain < 0.0 and -text_gain >= LEAST_ERRORS * text_error
    return Verdict(step, gain, error, needed, text_gain, text_error, helps and not harms)


def _paired(difference: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard error of the mean over blocks of neighbouring tokens.

    A short text is halved; one token has no standard error.
    """
    if difference.size < 2:
        return float(difference.mean()), np.inf
    blocks = np.array_split(difference.ravel(), max(2, difference.size // BLOCK_TOKENS))
    means = np.array([b.mean() for b in blocks])
    return float(difference.mean()), float(means.std(ddof=1) / np.sqrt(len(means)))
