"""Inputs to the bytes that rows are driven with, in Triton: one token a program."""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["feed_tokens"]

_MAGIC: tl.constexpr = tl.constexpr(12582912.0)  # 1.5 x 2^23: adding it rounds to whole numbers


@triton.jit(do_not_specialize=["static", "n_size"])
def feed_tokens(  # type: ignore[no-untyped-def]
    x, place, fed, scale, sums, wrong,
    n_size, k_size, depth, static, top, shift,
    PHASES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Quantise tokens: X = clip(round_half_even(x / scale)), as `cimsim.mac.quantize`.

    Args:
        x: [n_size, k_size], any float.
        place: int32 [k_size], where a row stands among the padded groups.
        fed: [PHASES, n_size, depth] of bytes, or of a float, filled where a row stands.
        scale: float32 [n_size], filled.
        sums: float64 [n_size], filled with the sum of the fed inputs.
        wrong: int32 [1], set to 1 where an input is not finite.
        n_size: tokens.
        k_size: inputs.
        depth: rows of all padded groups.
        static: scale of every token, or 0 for each token's own.
        top: greatest X.
        shift: added before X is fed.
        PHASES: 2 where magnitudes of each sign are fed apart.
        BLOCK: inputs at a time.
    """
    t = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    greatest = tl.zeros([BLOCK], tl.float32)
    finite = tl.zeros([BLOCK], tl.int32)
    for first in range(0, k_size, BLOCK):
        row = first + at
        v = tl.abs(tl.load(x + t * k_size + row, mask=row < k_size, other=0.0).to(tl.float32))
        finite |= (v <= 3.4028234663852886e38).to(tl.int32) ^ 1
        greatest = tl.maximum(greatest, v)
    if tl.max(finite) != 0:
        tl.store(wrong, 1)
    own = tl.div_rn(tl.max(greatest), tl.cast(top, tl.float32))
    own = tl.where(own >= 1.1754943508222875e-38, own, 1.0)
    each = tl.where(static > 0.0, static, own)
    tl.store(scale + t, each)
    total = tl.zeros([BLOCK], tl.int32)
    KIND: tl.constexpr = fed.dtype.element_ty
    for first in range(0, k_size, BLOCK):
        row = first + at
        inside = row < k_size
        v = tl.load(x + t * k_size + row, mask=inside, other=0.0).to(tl.float32)
        r = tl.div_rn(v, tl.zeros([BLOCK], tl.float32) + each)
        r = tl.minimum(tl.maximum(r, -tl.cast(top, tl.float32)), tl.cast(top, tl.float32))
        q = ((r + _MAGIC) - _MAGIC).to(tl.int32)
        to = tl.load(place + row, mask=inside, other=0)
        total += tl.where(inside, q + shift, 0)
        if PHASES == 2:
            tl.store(fed + t * depth + to, tl.maximum(q, 0).to(KIND), mask=inside)
            minus = fed + (n_size + t) * depth + to
            tl.store(minus, tl.maximum(-q, 0).to(KIND), mask=inside)
        elif fed.dtype.element_ty == tl.int8:
            tl.store(fed + t * depth + to, (q + shift).to(KIND), mask=inside)
        else:
            code = (q + shift).to(tl.float32)
            tl.store(fed + t * depth + to, code.to(KIND), mask=inside)
    tl.store(sums + t, tl.sum(total).to(tl.float64))
