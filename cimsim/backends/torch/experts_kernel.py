"""What stands around the grouped products of a layer's experts, in Triton.

Products are one library call for gates and ups, one for downs; these kernels finish them: the
error of every output at its address, SwiGLU, inputs of the downs as codes, the sum by gates.
"""

from __future__ import annotations

import triton
import triton.language as tl

from cimsim.backends.torch.normals_kernel import four_neighbours, philox
from cimsim.backends.torch.programming_kernel import two_normals

__all__ = ["combine_experts", "finish_product", "hidden_codes"]

_ALL_GROUPS: tl.constexpr = tl.constexpr(0xFFFF << 6)
_MAGIC: tl.constexpr = tl.constexpr(12582912.0)  # 1.5 x 2^23: adding it rounds to whole numbers


@triton.jit
def _normals(keys, position, sequence, first, NATIVE: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the normals of BLOCK outputs of a token from `first` on, [1, BLOCK].

    Args:
        keys: int32 [2], the key of a matrix.
        position: int32, of the token.
        sequence: int32.
        first: a multiple of 4.
        NATIVE: with instructions of the device.
        BLOCK: outputs.
    """
    k0 = tl.load(keys).to(tl.uint32, bitcast=True)
    k1 = tl.load(keys + 1).to(tl.uint32, bitcast=True)
    four = (first // 4 + tl.arange(0, BLOCK // 4)).to(tl.uint32, bitcast=True)[None, :]
    zero = tl.zeros([1, BLOCK // 4], tl.uint32)
    a, b, c, d = philox(
        four,
        zero + _ALL_GROUPS,
        zero + position.to(tl.uint32, bitcast=True),
        zero + sequence.to(tl.uint32, bitcast=True),
        k0,
        k1,
        7,
    )
    z0, z1 = two_normals(a, b, NATIVE)
    z2, z3 = two_normals(c, d, NATIVE)
    return four_neighbours(z0, z1, z2, z3)


@triton.jit
def _output(  # type: ignore[no-untyped-def]
    product, at, constants, matrix, width, keys, position, sequence, inside, first, token_scale,
    NOISY: tl.constexpr, TERMS: tl.constexpr, NATIVE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Return outputs of a token on one matrix, [1, BLOCK]: their error, scale and correction."""
    bias, spread, factor, shift = constants
    own = matrix * width + at
    y = product + tl.load(bias + own, mask=inside, other=0.0)
    if NOISY:
        z = _normals(keys + 2 * matrix, position, sequence, first, NATIVE, BLOCK)
        y += tl.load(spread + own, mask=inside, other=0.0) * z
    y *= token_scale
    if TERMS:
        y = y * tl.load(factor + own, mask=inside, other=0.0)
        y += tl.load(shift + own, mask=inside, other=0.0)
    return y


@triton.jit
def finish_product(  # type: ignore[no-untyped-def]
    product, out, scale, bias, spread, keys, matrix, sequence, position, width,
    NOISY: tl.constexpr, SEVERAL: tl.constexpr, NATIVE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Fill outputs (product + bias + spread z) scale; one block of a token a program.

    Args:
        product: [tokens, width], any float.
        out: [tokens, width], filled; it may be `product`.
        scale: float32 [tokens].
        bias: float32 [matrices, width].
        spread: float32 [matrices, width].
        keys: int32 [matrices, 2] of noise.
        matrix: int32 [tokens], which each has, if SEVERAL; else it is the first.
        sequence: int64 [tokens], of which the low half counts.
        position: int64 [tokens].
        width: outputs.
        NOISY: outputs have an error.
        SEVERAL: there are several matrices.
        NATIVE: with instructions of the device (not in Triton's interpreter).
        BLOCK: outputs of a program.
    """
    t, first = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK
    at = first + tl.arange(0, BLOCK)[None, :]
    inside = at < width
    e = tl.program_id(0) * 0
    if SEVERAL:
        e = tl.load(matrix + t)
    y = tl.load(product + t * width + at, mask=inside, other=0.0).to(tl.float32)
    seq, pos = tl.load(sequence + t).to(tl.int32), tl.load(position + t).to(tl.int32)
    y = _output(
        y, at, (bias, spread, bias, bias), e, width, keys, pos, seq, inside, first,
        tl.load(scale + t), NOISY, False, NATIVE, BLOCK,  # noqa: FBT003
    )  # fmt: skip
    tl.store(out + t * width + at, y.to(out.dtype.element_ty), mask=inside)


# Long: one kernel, whose values stay in registers from the first load to the last store.
@triton.jit
def hidden_codes(  # type: ignore[no-untyped-def]
    product, codes, scale, hidden, wrong,
    token, matrix, token_scale, bias, spread, factor, shift, keys, sequence, position,
    width, top,
    NOISY: tl.constexpr, TERMS: tl.constexpr, KEEP: tl.constexpr, NATIVE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Fill the codes of silu(gate) up, and their scale; one visit of an expert a program.

    Args:
        product: bf16 [visits, 2 width], input codes times gates, then times ups.
        codes: bf16 [visits, width], filled with whole numbers.
        scale: float32 [visits], filled.
        hidden: bf16 [visits, width], filled with silu(gate) up if KEEP.
        wrong: int32 [1], set to 1 where that is not finite.
        token: int32 [visits], whose inputs they are.
        matrix: int32 [visits], place of the expert in the stack.
        token_scale: float32 [tokens].
        bias: float32 [experts, 2, width].
        spread: float32 [experts, 2, width].
        factor: float32 [experts, 2, width], correction of a column, if TERMS.
        shift: float32 [experts, 2, width], if TERMS.
        keys: int32 [experts, 2, 2] of noise.
        sequence: int64 [tokens], of which the low half counts.
        position: int64 [tokens].
        width: of an expert.
        top: greatest code.
        NOISY: outputs have an error.
        TERMS: columns have a correction.
        KEEP: hidden values are kept.
        NATIVE: with instructions of the device (not in Triton's interpreter).
        BLOCK: a power of two from `width` on.
    """
    r = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)[None, :]
    inside = at < width
    t, e = tl.load(token + r), 2 * tl.load(matrix + r)
    seq, pos = tl.load(sequence + t).to(tl.int32), tl.load(position + t).to(tl.int32)
    fed = tl.load(token_scale + t)
    row = product + r * 2 * width
    constants = (bias, spread, factor, shift)
    gate = tl.load(row + at, mask=inside, other=0.0).to(tl.float32)
    gate = _output(
        gate, at, constants, e, width, keys, pos, seq, inside, 0, fed, NOISY, TERMS, NATIVE, BLOCK
    )
    up = tl.load(row + width + at, mask=inside, other=0.0).to(tl.float32)
    up = _output(
        up, at, constants, e + 1, width, keys, pos, seq, inside, 0, fed, NOISY, TERMS, NATIVE, BLOCK
    )
    value = tl.where(inside, gate / (1.0 + tl.exp(-gate)) * up, 0.0)
    if KEEP:
        tl.store(hidden + r * width + at, value.to(tl.bfloat16), mask=inside)
    most = tl.max(tl.abs(value), 1)
    finite = tl.min((tl.abs(value) <= 3.4028234663852886e38).to(tl.int32), 1)
    tl.store(wrong + tl.arange(0, 1), 1, mask=finite == 0)
    each = tl.div_rn(most, tl.zeros([1], tl.float32) + top)
    each = tl.where(each >= 1.1754943508222875e-38, each, 1.0)
    tl.store(scale + r + tl.arange(0, 1), each)
    q = (value / each[:, None] + _MAGIC) - _MAGIC
    q = tl.minimum(tl.maximum(q, -top), top)
    tl.store(codes + r * width + at, q.to(tl.bfloat16), mask=inside)


@triton.jit(do_not_specialize=["visits"])
def combine_experts(  # type: ignore[no-untyped-def]
    product, out, visit, matrix, gate, scale, low, bias, spread, factor, shift, keys,
    sequence, position, visits, width,
    TOP_K: tl.constexpr, NOISY: tl.constexpr, TERMS: tl.constexpr, LOW: tl.constexpr,
    NATIVE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Fill the sum of a token's downs by gates; one block of a token's outputs a program.

    Args:
        product: bf16 [visits, width], codes times downs.
        out: float32 [tokens, width], filled.
        visit: int32 [tokens, TOP_K], row of `product`; those from `visits` on are not there.
        matrix: int32 [tokens, TOP_K], place of the expert in the stack.
        gate: float32 [tokens, TOP_K].
        scale: float32 [visits].
        low: bf16 [visits, width], added before columns are corrected, if LOW.
        bias: float32 [experts, width].
        spread: float32 [experts, width].
        factor: float32 [experts, width], if TERMS.
        shift: float32 [experts, width], if TERMS.
        keys: int32 [experts, 2] of noise.
        sequence: int64 [tokens], of which the low half counts.
        position: int64 [tokens].
        visits: rows of `product`.
        width: outputs.
        TOP_K: experts of a token.
        NOISY: outputs have an error.
        TERMS: columns have a correction.
        LOW: there are low-rank terms.
        NATIVE: with instructions of the device (not in Triton's interpreter).
        BLOCK: outputs of a program.
    """
    t, first = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK
    at = first + tl.arange(0, BLOCK)[None, :]
    inside = at < width
    seq, pos = tl.load(sequence + t).to(tl.int32), tl.load(position + t).to(tl.int32)
    total = tl.zeros([1, BLOCK], tl.float32)
    constants = (bias, spread, factor, shift)
    for rank in tl.static_range(TOP_K):
        r = tl.load(visit + t * TOP_K + rank).to(tl.int64)
        there = inside & (r < visits)
        r = tl.minimum(r, visits - 1)
        e = tl.load(matrix + t * TOP_K + rank)
        y = tl.load(product + r * width + at, mask=there, other=0.0).to(tl.float32)
        y = _output(
            y, at, constants, e, width, keys, pos, seq, there, first, tl.load(scale + r),
            NOISY, False, NATIVE, BLOCK,  # noqa: FBT003
        )  # fmt: skip
        if LOW:
            y += tl.load(low + r * width + at, mask=there, other=0.0).to(tl.float32)
        if TERMS:
            own = e * width + at
            y = y * tl.load(factor + own, mask=there, other=0.0)
            y += tl.load(shift + own, mask=there, other=0.0)
        total += tl.where(there, tl.load(gate + t * TOP_K + rank) * y, 0.0)
    tl.store(out + t * width + at, total, mask=inside)
