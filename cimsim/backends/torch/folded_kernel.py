"""The folded product in Triton: one bf16 product with an error drawn at every output."""

from __future__ import annotations

import triton
import triton.language as tl

from cimsim.backends.torch.normals_kernel import four_neighbours, philox
from cimsim.backends.torch.programming_kernel import two_normals

__all__ = ["folded_product"]

_ALL_GROUPS: tl.constexpr = tl.constexpr(0xFFFF << 6)


# Long: one kernel, whose values stay in registers from the first load to the last store.
@triton.jit(do_not_specialize=["k0", "k1"])
def folded_product(  # type: ignore[no-untyped-def]
    x, w, out, token_scale, bias, spread, sequence, position,
    m_size, n_size, k_size, k0, k1,
    NOISY: tl.constexpr, NATIVE: tl.constexpr, BAND: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Fill outputs (x w + bias + spread z) token_scale, z ~ N(0, 1).

    Args:
        x: bf16 [m_size, k_size], whole input codes.
        w: bf16 [n_size, k_size], effective weights with their scale.
        out: [m_size, n_size], filled.
        token_scale: float32 [m_size].
        bias: float32 [n_size].
        spread: float32 [n_size], sigma of an output's error.
        sequence: int64 [m_size], of which the low half counts.
        position: int64 [m_size].
        m_size: tokens.
        n_size: outputs.
        k_size: inputs.
        k0: first word of the key of fresh noise.
        k1: second word.
        NOISY: whether outputs have an error.
        NATIVE: with instructions of the device (not in Triton's interpreter).
        BAND: rows of programs that share their weights in the cache.
        BM: tokens of a program.
        BN: outputs of a program.
        BK: inputs at a time.
    """
    pid, across, down = tl.program_id(0), tl.cdiv(n_size, BN), tl.cdiv(m_size, BM)
    band = pid // (BAND * across)
    rows = tl.minimum(down - band * BAND, BAND)
    pm = band * BAND + pid % (BAND * across) % rows
    pn = pid % (BAND * across) // rows
    rm, rn = pm * BM + tl.arange(0, BM), pn * BN + tl.arange(0, BN)
    rk = tl.arange(0, BK)
    in_m, in_n = rm < m_size, rn < n_size
    xp = x + rm.to(tl.int64)[:, None] * k_size + rk[None, :]
    wp = w + rn.to(tl.int64)[:, None] * k_size + rk[None, :]
    acc = tl.zeros([BM, BN], tl.float32)
    for k in range(0, k_size, BK):
        in_k = (k + rk < k_size)[None, :]
        xt = tl.load(xp + k, mask=in_m[:, None] & in_k, other=0.0)
        wt = tl.load(wp + k, mask=in_n[:, None] & in_k, other=0.0)
        acc = tl.dot(xt, tl.trans(wt), acc)
    y = acc + tl.load(bias + rn, mask=in_n, other=0.0)[None, :]
    if NOISY:
        seq = tl.load(sequence + rm, mask=in_m, other=0)[:, None].to(tl.int32)
        pos = tl.load(position + rm, mask=in_m, other=0)[:, None].to(tl.int32)
        seq, pos = seq.to(tl.uint32, bitcast=True), pos.to(tl.uint32, bitcast=True)
        four = (pn * (BN // 4) + tl.arange(0, BN // 4)).to(tl.uint32, bitcast=True)[None, :]
        place = tl.zeros([1, BN // 4], tl.uint32) + _ALL_GROUPS
        a, b, c, d = philox(
            four, place, pos, seq, k0.to(tl.uint32, bitcast=True), k1.to(tl.uint32, bitcast=True), 7
        )
        z0, z1 = two_normals(a, b, NATIVE)
        z2, z3 = two_normals(c, d, NATIVE)
        z = four_neighbours(z0, z1, z2, z3)
        y += tl.load(spread + rn, mask=in_n, other=0.0)[None, :] * z
    y *= tl.load(token_scale + rm, mask=in_m, other=0.0)[:, None]
    where = rm.to(tl.int64)[:, None] * n_size + rn[None, :]
    tl.store(out + where, y.to(out.dtype.element_ty), mask=in_m[:, None] & in_n[None, :])
