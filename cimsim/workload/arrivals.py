"""Arrivals: when streams reach the chip, at a given rate or from a trace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cimsim.elementary_arrays import log_of
from cimsim.errors import CimsimError
from cimsim.rng import derive_key, uniform_bits_at
from cimsim.text_file import read_text_file
from cimsim.units import PS_PER_S

__all__ = ["load_arrivals", "poisson_arrivals_ps", "trace_arrivals_ps"]

_PURPOSE = 65
LONGEST_S = 1e6
"""Latest arrival: picoseconds of longer runs come near the end of 64-bit integers."""


def poisson_arrivals_ps(count: int, rate_per_s: float, seed: int) -> NDArray[np.int64]:
    """Return arrival times of a Poisson process, in whole ps.

    Args:
        count: number of streams.
        rate_per_s: mean arrivals per second.
        seed: of the gaps.

    Raises:
        CimsimError: if the rate isn't a positive number.
    """
    if not np.isfinite(rate_per_s) or not count / LONGEST_S <= rate_per_s <= PS_PER_S:
        raise CimsimError(
            "an arrival rate must be positive, and all must arrive in time",
            value=rate_per_s,
            allowed=f"{count / LONGEST_S:g} to {PS_PER_S:g} per second",
        )
    bits = uniform_bits_at(count, (0, 0, 0), derive_key(seed, _PURPOSE))
    gaps = -log_of((bits + 0.5) / 2.0**32) * (PS_PER_S / rate_per_s)
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


def load_arrivals(path: Path) -> NDArray[np.int64]:
    """Read recorded arrival times: a text file, one time in seconds per line.

    Args:
        path: the file; lines that are empty or begin with # are left out.

    Returns:
        Times in whole ps.

    Raises:
        CimsimError: naming the line that is not a finite time, or earlier than the one before.
    """
    lines = read_text_file(path, "file of arrival times", pipe=True).split("\n")
    times: list[float] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            time = float(text)
        except ValueError:
            time = float("nan")
        least = times[-1] if times else 0.0
        if not least <= time <= LONGEST_S:
            raise CimsimError(
                "is not an arrival time",
                file=path,
                line=number,
                value=text,
                allowed=f"a number of seconds from {least:g} (the time before) to {LONGEST_S:g}",
            )
        times.append(time)
    if not times:
        raise CimsimError("holds no arrival time", file=path)
    return trace_arrivals_ps(np.array(times))
