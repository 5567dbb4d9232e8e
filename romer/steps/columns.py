"""Per-column digital scale and offset, fitted against the clean product.

For every output column of an analog matrix, over the tokens that reached it:
scale, offset = argmin sum (t - scale y - offset)^2 with t = x W (clean weights on the same
noisy input) and y the chip's product. Few tokens shrink the fit towards scale 1, offset 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.model import ColumnCorrection

__all__ = ["LEAST_TOKENS", "fit_scale_and_offset"]

Array = NDArray[np.float32]

PRIOR_TOKENS = 32.0  # weight of "scale 1, offset 0" in tokens
LEAST_TOKENS = 8  # fewer than these fit nothing


def fit_scale_and_offset(y: Array, target: Array) -> ColumnCorrection:
    """Return scale and offset of every column.

    Args:
        y: float32 [n, n_out], the chip's products.
        target: float32 [n, n_out], what they should be.
    """
    n = len(y)
    mean_y, mean_t = y.mean(axis=0, dtype=np.float64), target.mean(axis=0, dtype=np.float64)
    dy, dt = y - mean_y, target - mean_t
    power = np.einsum("ij,ij->j", dy, dy)
    prior = PRIOR_TOKENS * power / n + 1e-12
    scale = (np.einsum("ij,ij->j", dy, dt) + prior) / (power + prior)
    offset = (mean_t - scale * mean_y) * (n / (n + PRIOR_TOKENS))
    return ColumnCorrection(scale.astype(np.float32), offset.astype(np.float32))
