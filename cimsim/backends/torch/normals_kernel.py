"""Random words and normals of addresses in Triton: Philox, and the quantiles of `cimsim.rng`."""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["addressed", "four_neighbours", "normal_of", "philox"]

_FIRST_SEGMENT: tl.constexpr = tl.constexpr(0x3F000000 >> 17)


@triton.jit
def philox(c0, c1, c2, c3, k0, k1, ROUNDS: tl.constexpr = 10):  # type: ignore[no-untyped-def]
    """Return Philox4x32 of uint32 counters, of 10 rounds: `cimsim.rng.philox_words`.

    Seven rounds are the fewest that pass all tests of randomness in Salmon et al., SC 2011.
    """
    for _ in tl.static_range(ROUNDS):
        h0, h1 = tl.umulhi(0xD2511F53, c0), tl.umulhi(0xCD9E8D57, c2)
        l0, l1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = h1 ^ c1 ^ k0, l1, h0 ^ c3 ^ k1, l0
        k0, k1 = k0 + 0x9E3779B9, k1 + 0xBB67AE85
    return c0, c1, c2, c3


@triton.jit
def normal_of(word, table):  # type: ignore[no-untyped-def]
    """Return the normal of a uint32 word: the quantile table of `cimsim.rng`.

    Args:
        word: uint32.
        table: int64 [2049], quantile of each segment in the low half, slope in the high half: one
            fetch a normal.
    """
    tail = (word & 0x7FFFFFFF).to(tl.int32, bitcast=True).to(tl.float32) + 0.5
    bits = tail.to(tl.int32, bitcast=True)
    both = tl.load(table + ((bits >> 17) - _FIRST_SEGMENT))
    quantile = both.to(tl.int32).to(tl.float32, bitcast=True)
    slope = (both >> 32).to(tl.int32).to(tl.float32, bitcast=True)
    z = quantile + slope * (bits & 0x1FFFF).to(tl.float32)
    return tl.where(word >= 0x80000000, z, -z)


@triton.jit
def four_neighbours(z0, z1, z2, z3):  # type: ignore[no-untyped-def]
    """Return [m, n] four times as [m, 4 n], neighbours together."""
    both = tl.join(tl.join(z0, z2), tl.join(z1, z3))
    return tl.reshape(both, [z0.shape[0], 4 * z0.shape[1]])


@triton.jit
def addressed(first, place, tokens, key, table, N: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the normals of N neighbouring places, [m, N], whose first place is a multiple of 64.

    Outputs stand in the order of `packed.column_order`: four neighbours are one counter's words.
    """
    k0, k1 = key
    lane = (first // 4 + tl.arange(0, N // 4)).to(tl.uint32)[None, :]
    c1 = tl.zeros([1, N // 4], tl.int32) + place
    position, sequence = tokens
    w0, w1, w2, w3 = philox(
        lane,
        c1.to(tl.uint32, bitcast=True),
        position.to(tl.uint32, bitcast=True)[:, None],
        sequence.to(tl.uint32, bitcast=True)[:, None],
        k0,
        k1,
    )
    z0, z1 = normal_of(w0, table), normal_of(w1, table)
    z2, z3 = normal_of(w2, table), normal_of(w3, table)
    return four_neighbours(z0, z1, z2, z3)
