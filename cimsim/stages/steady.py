"""Time per output token while every sequence of a batch is decoded, and its error.

At first all sequences wait at the first layer, and at last the batch shrinks: both are left
out. What counts are the tokens completed after every sequence has its first one and until one
sequence is through. Their mean is judged by batch means: tokens in the order of completion are
cut into `BATCHES` parts of equal length, long against the time for which neighbours wait for
each other, and the interval is Student's of the parts' means (Law, Simulation Modeling and
Analysis, 5th ed., section 9.5.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.results.statistics import mean_interval

__all__ = ["BATCHES", "SteadyTime", "steady_time"]

BATCHES = 10
LEAST = 2 * BATCHES


@dataclass(frozen=True)
class SteadyTime:
    """Mean time of a token.

    Attributes:
        mean_ps: mean; of all tokens where none was completed with every sequence in flight.
        error_ps: half of its 95 % interval; None of fewer than `LEAST` tokens.
        tokens: that it is the mean of.
    """

    mean_ps: float
    error_ps: float | None
    tokens: int


def steady_time(took_ps: NDArray[np.int64], done_ps: NDArray[np.int64]) -> SteadyTime:
    """Return the mean time of a token with all sequences in flight.

    Args:
        took_ps: [sequences, tokens], time of every token.
        done_ps: [sequences, tokens], when it was completed.
    """
    begin, end = done_ps[:, 0].max(), done_ps[:, -1].min()
    counted = (done_ps > begin) & (done_ps <= end)
    if not counted.any():
        return SteadyTime(float(took_ps.mean()), None, took_ps.size)
    order = np.argsort(done_ps[counted], kind="stable")
    samples = took_ps[counted][order].astype(np.float64)
    error = None
    if len(samples) >= LEAST:
        each = len(samples) // BATCHES
        means = samples[len(samples) - BATCHES * each :].reshape(BATCHES, each).mean(axis=1)
        interval = mean_interval(means)
        error = (interval.high - interval.low) / 2
    return SteadyTime(float(samples.mean()), error, len(samples))
