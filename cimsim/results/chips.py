"""What a set of chips says of all that a fab would deliver: yield, and intervals with their text.

* The share of good chips, passed / n, with Wilson's interval (JASA 22 (1927), 209): its ends are
  the shares p with (passed / n - p)^2 = z^2 p (1 - p) / n, and lie within 0 and 1 at every n.
* A mean loss over chips and windows of text that both are drawn: `RESAMPLES` bootstrap means over
  chips and windows drawn anew, each by itself (the two-way bootstrap of Owen, Ann. Appl. Stat. 1
  (2007), 386). Fewer than `LEAST_CHIPS` chips tell nothing of their spread.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from cimsim.results.statistics import Interval

__all__ = ["LEAST_CHIPS", "RESAMPLES", "share_interval", "two_way_interval"]

LEAST_CHIPS = 5
RESAMPLES = 2000
DRAWS_KEY = 1907_00386  # of the resamples: the same for every table
Z_SQUARE = 1.959963984540054**2  # of a normal deviate that 95 % are within
TAIL_PERCENT = 2.5


def share_interval(passed: int, samples: int) -> Interval:
    """Return the share of samples that passed, with Wilson's 95 % interval."""
    share, n, z2 = passed / samples, samples, Z_SQUARE
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    # Where none or all passed an end is exact: rounding must not move it.
    return Interval(share, 0.0 if passed == 0 else low, 1.0 if passed == n else high, n)


def two_way_interval(losses: NDArray[np.float64]) -> Interval | None:
    """Return the mean of losses and its 95 % interval; None if chips are too few.

    Args:
        losses: float64 [chips, windows], nats per token.
    """
    chips, windows = losses.shape
    if chips < LEAST_CHIPS:
        return None
    draw = np.random.Generator(np.random.Philox(key=DRAWS_KEY))
    rows = draw.multinomial(chips, np.full(chips, 1 / chips), RESAMPLES) / chips
    columns = draw.multinomial(windows, np.full(windows, 1 / windows), RESAMPLES) / windows
    means = np.einsum("rc,cw,rw->r", rows, losses, columns, optimize=True)
    low, high = np.percentile(means, [TAIL_PERCENT, 100 - TAIL_PERCENT])
    return Interval(float(losses.mean()), float(low), float(high), chips)
