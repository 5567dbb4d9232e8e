"""Per-column digital scale and offset, fitted against the clean product.

For every output column of an analog matrix, over the tokens that reached it:
scale, offset = argmin sum (t - scale y - offset)^2 with t = x W (clean weights on the same
noisy input) and y the chip's product. Few tokens shrink the fit towards scale 1, offset 0.
"""

from __future__ import annotations

from typing import Any

from cimsim.model import ColumnCorrection
from romer.algebra import HOST, Algebra

__all__ = ["LEAST_TOKENS", "fit_scale_and_offset"]

Array = Any  # NumPy's, or a tensor where fits are computed on a device

PRIOR_TOKENS = 32.0  # weight of "scale 1, offset 0" in tokens
LEAST_TOKENS = 8  # fewer than these fit nothing


def fit_scale_and_offset(y: Array, target: Array, algebra: Algebra = HOST) -> ColumnCorrection:
    """Return scale and offset of every column, where they were computed.

    Args:
        y: float32 [n, n_out], the chip's products.
        target: float32 [n, n_out], what they should be.
        algebra: computes sums.
    """
    n = len(y)
    sums = algebra.column_moments(y, target)
    mean_y, mean_t = sums.x / n, sums.y / n
    power = (sums.xx - n * mean_y**2).clip(min=0.0)
    shared = sums.xy - n * mean_y * mean_t
    prior = PRIOR_TOKENS * power / n + 1e-12
    scale = (shared + prior) / (power + prior)
    offset = (mean_t - scale * mean_y) * (n / (n + PRIOR_TOKENS))
    return ColumnCorrection(algebra.single(scale), algebra.single(offset))
