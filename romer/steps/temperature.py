"""One temperature of the output logits, alone or with a bias a vocabulary entry.

The simplest correction there is, and so the line that others must beat: a noisy model is
too sure of itself, and flatter predictions cost less. The temperature is 1 / gain of the
final norm; the bias moves the mean prediction over FIT text to the mean clean one, in
nats of log probability, and sits on the head's outputs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.elementary_arrays import exp_of, log_of
from cimsim.model import ColumnCorrection, Correction, Linear
from romer.algebra import HOST
from romer.record import Routers
from romer.registry import register_step
from romer.task import Task

__all__ = ["fit_temperature", "fit_temperature_and_bias"]

GAINS = np.linspace(0.4, 1.2, 33)
PRIOR_TOKENS = 4.0  # weight of "bias 0" of a vocabulary entry, in expected tokens
WINDOWS = 24  # FIT windows that are read: a scalar needs no more


@register_step("temperature")
def fit_temperature(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Fit one gain of the output logits on the FIT text's own next tokens."""
    del routers
    logits, chosen = _outputs(task, correction, task.linear(correction))
    return _with_gain(task, correction, _best_gain(logits, chosen))


@register_step("temperature_bias")
def fit_temperature_and_bias(task: Task, correction: Correction, routers: Routers) -> Correction:
    """Fit a bias towards the clean unigram prediction, then the gain."""
    del routers
    logits, chosen = _outputs(task, correction, task.linear(correction))
    clean, _ = _outputs(task, None, task.clean)
    wanted, predicted = (_expected_counts(z) for z in (clean, logits))
    bias = log_of((wanted + PRIOR_TOKENS) / (predicted + PRIOR_TOKENS)).astype(np.float32)
    gain = _best_gain(logits + bias, chosen)
    head = task.decoder.program.head.id
    ones = np.ones_like(bias)
    moved = replace(
        correction,
        columns={**correction.columns, head: ColumnCorrection(ones, np.float32(gain) * bias)},
    )
    return _with_gain(task, moved, gain)


def _outputs(
    task: Task, correction: Correction | None, linear: Linear
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the logits [n, vocab] of FIT tokens and the tokens that followed, [n]."""
    windows = task.text.fit[:WINDOWS]
    sequences = np.arange(len(windows), dtype=np.int64)
    if linear is not task.clean:
        task.passed.tokens += windows.size
    out = task.decoder.forward(windows, linear, sequences=sequences, correction=correction)
    logits = out.logits[:, :-1]
    return logits.reshape(-1, logits.shape[-1]), windows[:, 1:].reshape(-1)


def _expected_counts(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how often each token is expected in the predictions of all rows, [vocab]."""
    counts = np.zeros(logits.shape[1])
    for row in HOST.log_probabilities(logits):
        counts += exp_of(row)
    return counts


def _best_gain(logits: NDArray[np.float32], chosen: NDArray[np.int64]) -> float:
    losses = []
    for gain in GAINS:
        log_p = HOST.log_probabilities(np.float32(gain) * logits)
        losses.append(-float(np.take_along_axis(log_p, chosen[:, None], axis=1).mean()))
    return float(GAINS[int(np.argmin(losses))])


def _with_gain(task: Task, correction: Correction, gain: float) -> Correction:
    place = (len(task.decoder.program.layers), "final")
    known = correction.norm_gain.get(place, np.float32(1.0))
    width = task.decoder.program.d_model
    scaled = np.full(width, gain, dtype=np.float32) * known
    return replace(correction, norm_gain={**correction.norm_gain, place: scaled})
