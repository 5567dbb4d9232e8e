"""Where the columns of a matrix are clipped if their cells err: the bound of least squared error.

A column with one scale, the greatest stored weight b over q_max, errs by clipping what is beyond b
and by the error of its cells, e LSB (and the rounding of codes, 1/12 LSB^2), which grows with b::

    E(b) = sum_i max(|w_i| - b, 0)^2 + n (e^2 + 1/12) (b / q_max)^2

E is convex; where k weights are beyond b its slope is 0 at b = S_k / (k + n c), with S_k the sum of
the k greatest magnitudes and c = (e^2 + 1/12) / q_max^2, and of these the greatest is the minimum:
a further weight raises the ratio as long as it is beyond it. Inputs count alike: no text is needed.
With no error of cells it is the optimal clipping of Sakr et al., ICML 2022 (arXiv 2206.06501).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.mac.quantize import greatest_integer

__all__ = ["least_error_bounds"]

ROUNDING = 1.0 / 12.0  # LSB^2


def least_error_bounds(
    weight: NDArray[np.float32], error_lsb: float, bits: int
) -> NDArray[np.float32]:
    """Return the greatest magnitude that each column stores, float32 [n_out].

    Args:
        weight: float32 [n_in, n_out].
        error_lsb: standard deviation of what a stored weight is off by, in LSB.
        bits: of a stored weight, 2 or more.
    """
    n = len(weight)
    sums = np.cumsum(-np.sort(-np.abs(weight), axis=0), axis=0, dtype=np.float64)
    share = n * (error_lsb**2 + ROUNDING) / greatest_integer(bits) ** 2
    beyond = np.arange(1, n + 1, dtype=np.float64)[:, None]
    bounds: NDArray[np.float32] = (sums / (beyond + share)).max(axis=0).astype(np.float32)
    return bounds
