"""Weights and inputs to symmetric integers.

Q = clip(round_half_even(v / scale), -q_max, q_max), scale = max|v| / q_max, in float32, over
the whole matrix or a column for weights, over a token or a calibration text for inputs. A
scale of an all-zero array is 1.

One bit is the binary format of XNOR-Net (Rastegari et al., ECCV 2016, arXiv 1603.05279):
Q = +1 for v >= 0, else -1, and scale = mean|v| over the same values, which of all scales has
the least squared error for these codes. There is no code for 0: a zero becomes +1, as in
BinaryConnect. Where all values are 0 the scale is 0, so that they stay 0; only the static
scale of calibration inputs that are all 0 is 1, as nothing is known of inputs then. A mean is
taken in float64 in the order of the values, and one below the least normal float32 is 0.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.kernel_cache import cached
from cimsim.workload.matrix import MatrixId

__all__ = ["greatest_integer", "quantize_weights", "quantized_inputs", "static_scale_of"]

_TINY = np.finfo(np.float32).tiny


def greatest_integer(bits: int) -> int:
    """Return the greatest absolute value of a symmetric integer: 1 for +-1, of one bit."""
    return max(1, (1 << (bits - 1)) - 1)


def _scale_of(greatest: NDArray[np.float32], q_max: int) -> NDArray[np.float32]:
    """Return max / q_max, 1 where the maximum is 0 or too small for its scale to be normal."""
    scale = (greatest / np.float32(q_max)).astype(np.float32)
    return np.where(scale >= _TINY, scale, np.float32(1.0))


def _mean_scale(mean: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the scale of one-bit codes, 0 where it is too small to be normal."""
    scale = np.asarray(mean, dtype=np.float32)
    return np.where(scale >= _TINY, scale, np.float32(0.0))


def static_scale_of(inputs: NDArray[np.float32], bits: int) -> float:
    """Return the scale of calibration inputs [n, n_in], 1 where all are 0."""
    magnitude = np.abs(inputs)
    if bits > 1:
        return float(_scale_of(magnitude.max(), greatest_integer(bits)))
    mean = magnitude.sum(axis=1, dtype=np.float64).sum() / magnitude.size
    return float(_mean_scale(mean)) or 1.0


def quantize_weights(
    weight: NDArray[np.float32], bits: int, *, per_column: bool
) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Return W_q int16 [n_in, n_out] and the scale of each column, float32 [n_out].

    Args:
        weight: float32 [n_in, n_out].
        bits: of a weight.
        per_column: a scale per column, else one for the whole matrix.

    Raises:
        CimsimError: if a weight is not finite, or the array is not a matrix with elements.
    """
    if weight.ndim != 2 or weight.size == 0:
        raise CimsimError(
            "a weight matrix has rows and columns", value=weight.shape, allowed="[n_in, n_out]"
        )
    weight = np.ascontiguousarray(weight, dtype=np.float32)
    magnitude = np.abs(weight)
    greatest = magnitude.max(axis=0) if per_column else magnitude.max()
    if not np.isfinite(greatest).all():
        raise CimsimError("a weight is not a finite number")
    if bits == 1:
        sums = magnitude.sum(axis=0, dtype=np.float64)
        mean = sums / weight.shape[0] if per_column else sums.sum() / weight.size
        scale = _mean_scale(np.broadcast_to(mean, weight.shape[1]))
        q = np.where(weight >= 0.0, 1.0, -1.0)
    else:
        q_max = greatest_integer(bits)
        scale = _scale_of(np.broadcast_to(greatest, weight.shape[1]), q_max)
        q = np.clip(np.rint(weight / scale), -q_max, q_max)
    return q.astype(np.int16), np.ascontiguousarray(scale)


def quantized_inputs(
    x: NDArray[np.float32], bits: int, static_scale: float, matrix: MatrixId
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return X int32 [n, n_in] and the scale of each token, float32 [n].

    Args:
        x: float32 [n, n_in], C order.
        bits: of an input.
        static_scale: scale of every token, or 0 for each token's own.
        matrix: whose inputs these are, for the message.

    Raises:
        CimsimError: if an input is not finite.
    """
    q, scale = np.empty(x.shape, dtype=np.int32), np.empty(x.shape[0], dtype=np.float32)
    if not _quantize_inputs(x, bits, static_scale, q, scale):
        raise CimsimError(f"an input of matrix {matrix} is not a finite number")
    return q, scale


@cached
@njit(error_model="numpy")
def _quantize_inputs(x, bits, static_scale, q, scale):  # type: ignore[no-untyped-def]
    """Quantise a batch of inputs.

    Args:
        x: float32 [n, n_in].
        bits: of an input.
        static_scale: scale of every token, or 0 for each token's own.
        q: int32 [n, n_in], filled.
        scale: float32 [n], filled.

    Returns:
        Whether every input is finite.
    """
    one_bit = bits == 1
    top = np.float32((1 << (bits - 1)) - 1)
    tiny = np.float32(1.1754943508222875e-38)
    for t in range(x.shape[0]):
        greatest = np.float32(0.0)
        total = 0.0
        finite = True
        for i in range(x.shape[1]):
            a = abs(x[t, i])
            finite &= a <= np.float32(3.4028234663852886e38)
            greatest = max(greatest, a)
            total += np.float64(a) if one_bit else 0.0
        if not finite:
            return False
        s = np.float32(static_scale)
        if s == np.float32(0.0):
            s = np.float32(total / x.shape[1]) if one_bit else greatest / top
            s = s if s >= tiny else np.float32(0.0 if one_bit else 1.0)
        scale[t] = s
        if one_bit:
            for i in range(x.shape[1]):
                q[t, i] = 1 if x[t, i] >= np.float32(0.0) else -1
        else:
            for i in range(x.shape[1]):
                q[t, i] = np.int32(min(max(np.rint(x[t, i] / s), -top), top))
    return True
