"""Weights and inputs to symmetric integers.

Q = clip(round_half_even(v / scale), -q_max, q_max), scale = max|v| / q_max, in float32, over
the whole matrix or a column for weights, over a token or a calibration text for inputs. A
scale of an all-zero array is 1.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cimsim.errors import CimsimError

__all__ = ["quantize_inputs", "quantize_weights", "scale_of"]


def scale_of(greatest: NDArray[np.float32], q_max: int) -> NDArray[np.float32]:
    """Return max / q_max, 1 where the maximum is 0 or too small for its scale to be normal."""
    scale = (greatest / np.float32(q_max)).astype(np.float32)
    return np.where(scale >= np.finfo(np.float32).tiny, scale, np.float32(1.0))


def quantize_weights(
    weight: NDArray[np.float32], q_max: int, *, per_column: bool
) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Return W_q int16 [n_in, n_out] and the scale of each column, float32 [n_out].

    Raises:
        CimsimError: if a weight is not finite, or the array is not a matrix with elements.
    """
    if weight.ndim != 2 or weight.size == 0:
        raise CimsimError(
            "a weight matrix has rows and columns", value=weight.shape, allowed="[n_in, n_out]"
        )
    weight = np.ascontiguousarray(weight, dtype=np.float32)
    greatest = np.abs(weight).max(axis=0) if per_column else np.abs(weight).max()
    if not np.isfinite(greatest).all():
        raise CimsimError("a weight is not a finite number")
    scale = scale_of(np.broadcast_to(greatest, weight.shape[1]), q_max)
    q = np.clip(np.rint(weight / scale), -q_max, q_max)
    return q.astype(np.int16), np.ascontiguousarray(scale)


@njit(cache=True, error_model="numpy")
def quantize_inputs(x, q_max, static_scale, q, scale):  # type: ignore[no-untyped-def]
    """Quantise a batch of inputs.

    Args:
        x: float32 [n, n_in].
        q_max: greatest integer.
        static_scale: scale of every token, or 0 for each token's own maximum.
        q: int32 [n, n_in], filled.
        scale: float32 [n], filled.

    Returns:
        Whether every input is finite.
    """
    top = np.float32(q_max)
    tiny = np.float32(1.1754943508222875e-38)
    for t in range(x.shape[0]):
        greatest = np.float32(0.0)
        finite = True
        for i in range(x.shape[1]):
            a = abs(x[t, i])
            finite &= a <= np.float32(3.4028234663852886e38)
            greatest = max(greatest, a)
        if not finite:
            return False
        s = np.float32(static_scale)
        if s == np.float32(0.0):
            s = greatest / top
            s = s if s >= tiny else np.float32(1.0)
        scale[t] = s
        for i in range(x.shape[1]):
            q[t, i] = np.int32(min(max(np.rint(x[t, i] / s), -top), top))
    return True
