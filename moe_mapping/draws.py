"""Random numbers of the policies: pure functions of (seed, draw).

SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA
2014) of the address: no generator object, no state between calls, the same on every
machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moe_mapping.kernel import inner, kernel

__all__ = ["below", "bits", "permutation", "uniform"]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@inner
def _mix(word: np.uint64) -> np.uint64:
    word = (word ^ (word >> np.uint64(30))) * _MIX_1
    word = (word ^ (word >> np.uint64(27))) * _MIX_2
    return word ^ (word >> np.uint64(31))


@inner
def bits(seed: int, draw: int) -> np.uint64:
    """Return 64 random bits."""
    start = _mix(np.uint64(seed) * _STEP + np.uint64(1))
    return np.uint64(_mix(start + np.uint64(draw) * _STEP))


@inner
def uniform(seed: int, draw: int) -> float:
    """Return a number in [0, 1) with 53 random bits."""
    return float(bits(seed, draw) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@inner
def below(seed: int, draw: int, limit: int) -> int:
    """Return an integer in [0, limit), limit < 2^31 (bias below 2^-32)."""
    high = bits(seed, draw) >> np.uint64(32)
    return int(np.int64((high * np.uint64(limit)) >> np.uint64(32)))


@kernel
def permutation(seed: int, size: int) -> NDArray[np.int64]:
    """Return a random order of 0 .. size - 1 (Fisher-Yates)."""
    order = np.arange(size)
    for i in range(size - 1, 0, -1):
        j = below(seed, i, i + 1)
        order[i], order[j] = order[j], order[i]
    return order
