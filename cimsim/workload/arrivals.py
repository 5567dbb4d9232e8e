"""Arrivals: when streams reach the chip, at a given rate or from a trace."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.rng import derive_key, uniform_bits_at
from cimsim.units import PS_PER_S

__all__ = ["poisson_arrivals_ps", "trace_arrivals_ps"]

_PURPOSE = 65


def poisson_arrivals_ps(count: int, rate_per_s: float, seed: int) -> NDArray[np.int64]:
    """Return arrival times of a Poisson process, in whole ps.

    Args:
        count: number of streams.
        rate_per_s: mean arrivals a second.
        seed: of the gaps.

    Raises:
        CimsimError: if the rate isn't a positive number.
    """
    if not np.isfinite(rate_per_s) or rate_per_s <= 0:
        raise CimsimError("an arrival rate must be positive", value=rate_per_s, allowed="> 0")
    bits = uniform_bits_at(count, (0, 0, 0), derive_key(seed, _PURPOSE))
    gaps = -np.log((bits + 0.5) / 2.0**32) * (PS_PER_S / rate_per_s)
    return np.cumsum(gaps).round().astype(np.int64)


def trace_arrivals_ps(times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return recorded arrival times in whole ps.

    Args:
        times_s: rising times in seconds, the first not negative.

    Raises:
        CimsimError: if a time is NaN, infinite, negative or earlier than the one before.
    """
    if times_s.ndim != 1 or not np.all(np.isfinite(times_s)):
        raise CimsimError("arrival times must be finite numbers in one row")
    if np.any(np.diff(times_s, prepend=0.0) < 0):
        raise CimsimError("arrival times must rise from 0 on")
    return (times_s * PS_PER_S).round().astype(np.int64)
