"""Quantisation of weights in Triton: greatest magnitudes, and whole numbers of their scale."""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["greatest_of_rows", "quantize_weights"]

_MAGIC: tl.constexpr = tl.constexpr(12582912.0)  # 1.5 x 2^23: adding it rounds to whole numbers


@triton.jit
def greatest_of_rows(w, out, k_size, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Fill the greatest magnitude of each output's weights, NaN where one is not a number.

    Args:
        w: [n_size, k_size], any float.
        out: float32 [n_size], filled.
        k_size: inputs of an output.
        BLOCK: weights at a time.
    """
    n = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    most = tl.zeros([BLOCK], tl.int32)
    for first in range(0, k_size, BLOCK):
        v = tl.load(w + n * k_size + first + at, mask=first + at < k_size, other=0.0)
        # Bits without their sign are ordered as magnitudes are, and NaN is above all.
        most = tl.maximum(most, v.to(tl.float32).to(tl.int32, bitcast=True) & 0x7FFFFFFF)
    tl.store(out + n, tl.max(most).to(tl.float32, bitcast=True))


@triton.jit
def quantize_weights(w, scale, q, k_size, top, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Fill W_q = clip(round_half_even(w / scale)): one block of a row a program.

    Args:
        w: [n_size, k_size], any float.
        scale: float32 [n_size].
        q: int8 [n_size, k_size], filled.
        k_size: inputs of an output.
        top: greatest W_q, float32.
        BLOCK: weights of a program.
    """
    n = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = k < k_size
    v = tl.load(w + n * k_size + k, mask=inside, other=0.0).to(tl.float32)
    r = tl.div_rn(v, tl.zeros([BLOCK], tl.float32) + tl.load(scale + n))
    r = tl.minimum(tl.maximum((r + _MAGIC) - _MAGIC, -top), top)
    tl.store(q + n * k_size + k, r.to(tl.int8), mask=inside)
