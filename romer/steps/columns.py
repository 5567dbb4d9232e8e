"""Per-column digital scale and offset, fitted against the clean product.

For every output column of an analog matrix, over the tokens that reached it:
scale, offset = argmin sum (t - scale y - offset)^2 with t = x W (clean weights on the same
noisy input) and y the chip's product. Few tokens shrink the fit towards scale 1, offset 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.model import ColumnCorrection, Correction
from cimsim.workload.program import MatrixId
from romer.record import RouterRecord
from romer.sequential import fit_in_one_pass
from romer.task import Task

__all__ = ["fit_columns"]

Array = NDArray[np.float32]

PRIOR_TOKENS = 32.0  # weight of "scale 1, offset 0" in tokens
LEAST_TOKENS = 8


def fit_columns(task: Task, correction: Correction, noisy: RouterRecord) -> Correction:
    """Fit scale and offset of every column of every analog matrix but the routers."""
    del noisy
    columns: dict[MatrixId, ColumnCorrection] = {}

    def fit(matrix: MatrixId, x: Array, y: Array, target: Array) -> Array:
        del x
        if len(y) < LEAST_TOKENS:
            return y
        columns[matrix] = _fit(y.astype(np.float64), target.astype(np.float64))
        return y * columns[matrix].scale + columns[matrix].offset

    fit_in_one_pass(task, correction, fit)
    return replace(correction, columns=columns, low_rank={})


def _fit(y: NDArray[np.float64], target: NDArray[np.float64]) -> ColumnCorrection:
    n = len(y)
    mean_y, mean_t = y.mean(axis=0), target.mean(axis=0)
    dy, dt = y - mean_y, target - mean_t
    prior = PRIOR_TOKENS * (dy**2).mean(axis=0) + 1e-12
    scale = ((dy * dt).sum(axis=0) + prior) / ((dy**2).sum(axis=0) + prior)
    offset = (mean_t - scale * mean_y) * (n / (n + PRIOR_TOKENS))
    return ColumnCorrection(scale.astype(np.float32), offset.astype(np.float32))
