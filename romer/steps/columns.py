"""Per-column digital scale and offset, fitted against the clean product.

For every output column of an analog matrix, over the tokens that reached it:
scale, offset = argmin sum (t - scale y - offset)^2 with t = x W (clean weights on the same
noisy input) and y the chip's product. Few tokens shrink the fit towards scale 1, offset 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.model import ColumnCorrection
from romer.exact_sums import column_products, column_sums

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
    mean_y, mean_t = column_sums(y) / n, column_sums(target) / n
    power = np.maximum(column_products(y, y) - n * mean_y**2, 0.0)
    shared = column_products(y, target) - n * mean_y * mean_t
    prior = PRIOR_TOKENS * power / n + 1e-12
    scale = (shared + prior) / (power + prior)
    offset = (mean_t - scale * mean_y) * (n / (n + PRIOR_TOKENS))
    return ColumnCorrection(scale.astype(np.float32), offset.astype(np.float32))
