"""Cosines and sines of rotary positions, with the frequencies as public checkpoints scale them."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cimsim.elementary import cos_sin, exp, log
from cimsim.kernel_cache import cached
from cimsim.workload.heads import Heads, RopeScaling

__all__ = ["frequencies", "rotary_tables"]

Array = NDArray[np.float32]

_cos_sin = cached(njit(error_model="numpy")(cos_sin))


def rotary_tables(heads: Heads, length: int) -> tuple[Array, Array]:
    """Return cosines and sines of the rotary angles, float32 [length, rotated / 2] each.

    angle(p, i) = p * frequency(i), rounded to float32 as the public implementations do.
    """
    frequency = frequencies(heads)
    angle = np.arange(length, dtype=np.float32)[:, None] * frequency[None, :]
    amplitude = 1.0 if heads.scaling is None else heads.scaling.amplitude
    cos, sin = np.empty_like(angle), np.empty_like(angle)
    _fill(angle, np.float32(amplitude), cos, sin)
    return cos, sin


@cached
@njit(nogil=True)
def _fill(angle: Array, amplitude: np.float32, cos: Array, sin: Array) -> None:
    for p in range(angle.shape[0]):
        for i in range(angle.shape[1]):
            c, s = _cos_sin(np.float64(angle[p, i]))
            cos[p, i] = np.float32(c) * amplitude
            sin[p, i] = np.float32(s) * amplitude


def frequencies(heads: Heads) -> Array:
    """Return the angle of each pair per position, float32 [rotated / 2].

    Unscaled, frequency(i) = theta^(-2 i / rotated) (Su et al., arXiv 2104.09864).
    """
    width = heads.rotated
    falls = -log(float(heads.theta)) / width
    plain = np.array([exp(i * falls) for i in range(0, width, 2)], dtype=np.float32)
    scaling = heads.scaling
    if scaling is None:
        return plain
    stretched = plain / np.float32(scaling.factor)
    if scaling.kind == "linear":
        return stretched
    if scaling.kind == "llama3":
        kept = _kept_by_turns(plain, scaling)
    else:
        kept = _kept_by_index(heads, scaling)
    return (stretched * (1.0 - kept) + plain * kept).astype(np.float32)


def _kept_by_turns(plain: Array, scaling: RopeScaling) -> NDArray[np.float64]:
    """Return the share of each frequency that is not stretched (Llama 3)."""
    turns = scaling.original * plain.astype(np.float64) / (2.0 * math.pi)
    share: NDArray[np.float64] = (turns - scaling.slow) / (scaling.fast - scaling.slow)
    return np.clip(share, 0.0, 1.0)


def _kept_by_index(heads: Heads, scaling: RopeScaling) -> NDArray[np.float64]:
    """Return the share of each frequency that is not stretched (YaRN)."""
    width = heads.rotated

    def index(turns: float) -> float:
        length = scaling.original / (turns * 2.0 * math.pi)
        return width * log(length) / (2.0 * log(heads.theta))

    low, high = index(scaling.fast), index(scaling.slow)
    if scaling.whole:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    high += 0.001 if low == high else 0.0
    share = (np.arange(width // 2, dtype=np.float64) - low) / (high - low)
    return np.asarray(1.0 - np.clip(share, 0.0, 1.0))
