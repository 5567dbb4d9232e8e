"""Mean and variance of what a cell holds, by its level: over chips, without drawing one."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cimsim.elementary_arrays import exp_of
from cimsim.mac.cells import FLICKER_STEPS, CellTables

__all__ = ["level_moments", "mean_writes", "weight_moments"]

Real = NDArray[np.float64]
Integers = NDArray[np.int64]
_WRITES, _SPREADS = 512, 32  # points of the quadrature over z0, and over z1 and z2


def _normals(count: int) -> Real:
    """Return normal quantiles of equal probability, scaled to a variance of 1."""
    normal = NormalDist()
    z = np.array([normal.inv_cdf((i + 0.5) / count) for i in range(count)])
    return np.asarray(z / np.sqrt(np.mean(z**2)))


def _kept(accepted: NDArray[np.bool_], attempts: int) -> Real:
    """Return how probable each of equally probable writes is to be the one that stays."""
    p = float(accepted.mean())
    first = (1.0 - (1.0 - p) ** attempts) / p if p > 0.0 else 0.0
    share: Real = np.where(accepted, first, (1.0 - p) ** (attempts - 1)) / accepted.size
    return share


def mean_writes(tables: CellTables) -> Real:
    """Return the mean number of writes of a cell by its level: above 1 where some are verified."""
    found = np.ones(tables.target.size)
    for level, target in enumerate(tables.target):
        written = target + tables.bias[level] + tables.sigma[level] * _normals(_WRITES)
        miss = float((np.abs(np.maximum(0.0, written) - target) > tables.tolerance).mean())
        found[level] = sum(miss**attempt for attempt in range(tables.attempts))
    return found


def level_moments(tables: CellTables) -> tuple[Real, Real]:
    """Return mean and variance of what a cell holds by its level, in levels.

    Midpoints of equal probability stand for the normals: `_WRITES` of the write, `_SPREADS`
    each of the drift exponent and the 1/f noise.
    """
    write, spread = _normals(_WRITES), _normals(_SPREADS)
    drifts, flickers = tables.log_time > 0.0, bool(tables.flicker.any())
    z1 = spread if drifts else np.zeros(1)
    z2 = spread if flickers else np.zeros(1)
    mean, square = np.empty(tables.target.size), np.empty(tables.target.size)
    works, held_stuck = _stuck(tables)
    for level, target in enumerate(tables.target):
        written = np.maximum(0.0, target + tables.bias[level] + tables.sigma[level] * write)
        share = _kept(np.abs(written - target) <= tables.tolerance, tables.attempts)
        nu = np.abs(tables.nu_mean[level] + tables.nu_sigma[level] * z1)
        aged = written[:, None, None] * exp_of(-nu * tables.log_time)[None, :, None]
        if flickers:
            place = np.arange(tables.flicker.size) / FLICKER_STEPS
            q = np.interp(written, place, tables.flicker)[:, None, None]
            aged = np.maximum(0.0, aged * (1.0 + q * z2))
        held = aged * max(tables.temperature_factor, 0.0) * tables.to_levels - tables.base
        first, second = (works * float(share @ (held**k).mean(axis=(1, 2))) for k in (1, 2))
        mean[level] = first + held_stuck[0]
        square[level] = second + held_stuck[1]
    return mean, np.maximum(square - mean**2, 0.0)


def _stuck(tables: CellTables) -> tuple[float, tuple[float, float]]:
    """Return the share of cells that work, and what the others add to mean and mean square."""
    low, high = tables.stuck_low / 2.0**32, tables.stuck_high / 2.0**32
    ends = np.array([tables.g_min, 1.0]) * max(tables.temperature_factor, 0.0)
    ends = ends * tables.to_levels - tables.base
    held = (float(low * ends[0] + high * ends[1]), float(low * ends[0] ** 2 + high * ends[1] ** 2))
    return 1.0 - low - high, held


def weight_moments(
    tables: CellTables, mean: Real, wq: Integers, level: Integers, side: Real
) -> tuple[Real, Real]:
    """Return what errors of whole weights add to mean and variance of a weight, in levels.

    A stuck cell takes no such error. Whether a cell is stuck thus decides both what it holds and
    whether the mean error is there: the variance has their covariance.

    Args:
        tables: of the cells; errors of whole weights are present.
        mean: of what a cell holds by its level, from `level_moments`.
        wq: [n_in, n_out] integer weights.
        level: [n_in, n_out] level of the cell that takes the error.
        side: [n_in, n_out] 1, or -1 where that cell is subtracted.
    """
    works, (held_stuck, _) = _stuck(tables)
    sigma = tables.weight_sigma[np.abs(wq)]
    shift = tables.weight_shift[wq + tables.weight_shift.size // 2]
    covariance = (1.0 - works) * mean - held_stuck
    variance = works * sigma**2 + works * (1.0 - works) * shift**2
    return works * shift, variance + 2.0 * side * shift * covariance[level]
