"""Statistics of results: intervals over chip seeds, percentiles, loads, agreement.

A chip seed is one draw of a chip's frozen errors, so the spread over seeds is the spread
over chips that a fab would deliver. Means come with Student t intervals; comparisons of
two treatments of the same chips are paired.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cimsim.errors import CimsimInternalError

__all__ = [
    "P99_SAMPLES",
    "Interval",
    "Paired",
    "gini",
    "load_cv",
    "max_over_mean",
    "mean_interval",
    "paired_difference",
    "percentile",
    "t_quantile",
    "topk_agreement",
    "total_variation",
]

# A 99th percentile of fewer samples is decided by one of them or by extrapolation.
P99_SAMPLES = 100

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval.

    Attributes:
        mean: sample mean.
        low: lower end; equals the mean with one sample.
        high: upper end; equals the mean with one sample.
        samples: number of samples.
    """

    mean: float
    low: float
    high: float
    samples: int


@dataclass(frozen=True)
class Paired:
    """A paired comparison: treatment minus reference on the same chips.

    Attributes:
        difference: mean difference and its interval.
        significant: whether the interval excludes zero (never with one sample).
    """

    difference: Interval
    significant: bool


def _samples(values: ArrayLike, least: int = 1) -> Floats:
    samples = np.asarray(values, dtype=np.float64)
    if samples.ndim != 1 or len(samples) < least or not np.isfinite(samples).all():
        message = f"statistics need at least {least} finite samples in one dimension"
        raise CimsimInternalError(message)
    return samples


def t_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t distribution.

    Args:
        probability: between 0 and 1.
        degrees: degrees of freedom, at least 1.
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - a fifth of a second at each start

    return float(stdtrit(degrees, probability))


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return mean and t interval: mean +- t s / sqrt(n), s with n - 1.

    Args:
        values: samples, [n]; one sample gives an interval of no width.
        confidence: coverage of the interval.
    """
    samples = _samples(values)
    n = len(samples)
    # A mean of equal samples is that sample: adding and dividing may lose its last bit.
    equal = bool((samples == samples[0]).all())
    mean = float(samples[0]) if equal else float(samples.mean())
    if equal:
        return Interval(mean, mean, mean, n)
    spread = float(samples.std(ddof=1)) / sqrt(n)
    half = t_quantile(0.5 + confidence / 2, n - 1) * spread
    return Interval(mean, mean - half, mean + half, n)


def paired_difference(
    reference: ArrayLike, treatment: ArrayLike, confidence: float = 0.95
) -> Paired:
    """Compare two treatments of the same chips.

    Args:
        reference: one value per chip seed, [n].
        treatment: values of the same seeds in the same order, [n].
        confidence: coverage of the interval.
    """
    before, after = _samples(reference), _samples(treatment)
    if before.shape != after.shape:
        message = "a paired comparison needs the same chips on both sides"
        raise CimsimInternalError(message)
    difference = mean_interval(after - before, confidence)
    excludes_zero = difference.low > 0 or difference.high < 0
    return Paired(difference, significant=excludes_zero and difference.samples > 1)


def percentile(values: ArrayLike, percent: float) -> float | None:
    """Return a percentile by linear interpolation between order statistics.

    Args:
        values: samples, [n].
        percent: 0 to 100.

    Returns:
        The percentile, or None above the 95th when there are fewer than 100 samples.
    """
    samples = _samples(values)
    if percent > 95 and len(samples) < P99_SAMPLES:
        return None
    return float(np.percentile(samples, percent))


def _loads(load: ArrayLike) -> Floats:
    loads = np.atleast_2d(np.asarray(load, dtype=np.float64))
    if loads.ndim != 2 or loads.size == 0 or (loads < 0).any() or (loads.sum(axis=1) == 0).any():
        message = "loads must be [layers, experts], not negative, with visits in every layer"
        raise CimsimInternalError(message)
    return loads


def load_cv(load: ArrayLike) -> Floats:
    """Return std over mean of the visits of every layer's experts, [layers].

    Args:
        load: visits, [layers, experts]; the mean of the result is the run's load CV.
    """
    loads = _loads(load)
    cv: Floats = loads.std(axis=1) / loads.mean(axis=1)
    return cv


def max_over_mean(load: ArrayLike) -> Floats:
    """Return largest over mean load of every layer, [layers]."""
    loads = _loads(load)
    ratio: Floats = loads.max(axis=1) / loads.mean(axis=1)
    return ratio


def gini(load: ArrayLike) -> Floats:
    """Return the Gini coefficient of every layer's loads, [layers].

    With loads sorted to rise, G = 2 sum(i x_i) / (n sum(x)) - (n + 1) / n: 0 when all are
    equal, (n - 1) / n when one expert takes everything.
    """
    loads = np.sort(_loads(load), axis=1)
    n = loads.shape[1]
    rank = np.arange(1, n + 1)
    raw = 2.0 * (loads * rank).sum(axis=1) / (n * loads.sum(axis=1)) - (n + 1) / n
    coefficient: Floats = np.clip(raw, 0.0, 1.0)
    return coefficient


def total_variation(load: ArrayLike, other: ArrayLike) -> Floats:
    """Return half the L1 distance of two load distributions of every layer, [layers]."""
    p, q = _loads(load), _loads(other)
    if p.shape != q.shape:
        message = "load distributions of different shape"
        raise CimsimInternalError(message)
    distance: Floats = 0.5 * np.abs(
        p / p.sum(axis=1, keepdims=True) - q / q.sum(axis=1, keepdims=True)
    ).sum(axis=1)
    return np.minimum(distance, 1.0)


def topk_agreement(
    clean: NDArray[np.integer], noisy: NDArray[np.integer], block: int = 4096
) -> Floats:
    """Return the share of clean expert choices that are kept, for every layer, [layers].

    Args:
        clean: experts chosen by the float model, [tokens, layers, k].
        noisy: experts chosen on the chip, same shape; order within k does not matter.
        block: tokens compared at once.
    """
    if clean.shape != noisy.shape or clean.ndim != 3 or clean.size == 0:
        message = "agreement needs two routings of shape [tokens, layers, k]"
        raise CimsimInternalError(message)
    kept = np.zeros(clean.shape[1], dtype=np.int64)
    for start in range(0, len(clean), block):
        a, b = clean[start : start + block], noisy[start : start + block]
        same = (a[:, :, :, None] == b[:, :, None, :]).any(axis=3)  # [tokens, layers, k]
        kept += same.sum(axis=(0, 2))
    share: Floats = kept / (clean.shape[0] * clean.shape[2])
    return share
