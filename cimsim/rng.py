"""Addressed random numbers: Philox4x32-10 and a normal generator by table.

A random number here is a pure function of an address: a 64-bit key and a 128-bit counter
(Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). Nothing depends on
the order, the batch, the threads or the process in which numbers are asked for.

Normals come from 32 uniform bits by the inverse normal distribution: the first bit is the
sign, the other 31 a tail probability p = (m + 1/2) / 2**32. The quantile is a table over p
with 64 linear segments an octave, so that its relative resolution in p is the same in the
tails (out to 6.3 sigma) as in the middle. The table is monotone, hence so is the generator.

Every function that is compiled has a NumPy twin with the same bits.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from cimsim.kernel_cache import cached

__all__ = [
    "CHUNK",
    "column_address",
    "derive_key",
    "fill_bits",
    "fill_normals",
    "normals_at",
    "normals_of_bits",
    "philox4x32",
    "philox_words",
    "uniform_bits_at",
]

Key = tuple[int, int]

_MUL0 = np.uint64(0xD2511F53)
_MUL1 = np.uint64(0xCD9E8D57)
_WEYL0 = np.uint32(0x9E3779B9)
_WEYL1 = np.uint32(0xBB67AE85)
_SHIFT = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)

CHUNK = 64
"""Columns that one run of 16 counters covers: word w of counter b is column 16 w + b."""
_LANES = 16

_SEGMENT_BITS = np.uint32(17)  # a float32 has 23 fraction bits: 6 pick one of 64 segments
_FIRST_SEGMENT = np.uint32(0x3F000000 >> 17)  # of 0.5, the least value of m + 1/2
_FRACTION = np.uint32((1 << 17) - 1)
_MAGNITUDE = np.uint32(0x7FFFFFFF)
_SIGN = np.uint32(0x80000000)


def _normal_table() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Quantiles at the left end of every segment, and rise a unit of the segment's fraction."""
    first = int(_FIRST_SEGMENT)
    knots = (np.arange(first, first + 32 * 64 + 1, dtype=np.int64) << 17).astype(np.int32)
    quantile = NormalDist().inv_cdf
    z = np.array([quantile(float(p) / 2**32) for p in knots.view(np.float32)])
    slope = np.append(np.diff(z) / 2**17, 0.0)  # the last knot is p = 1/2 itself
    return z.astype(np.float32), slope.astype(np.float32)


_QUANTILE, _SLOPE = _normal_table()
# Both in one word, slope above quantile, because fetching by index is what normals cost. A
# constant, and not an argument: only so may the compiler assume that nothing writes to it.
_SEGMENTS = _QUANTILE.view(np.uint32) | _SLOPE.view(np.uint32).astype(np.uint64) << _SHIFT


def philox4x32(counter: NDArray[np.uint32], key: Key) -> NDArray[np.uint32]:
    """Return Philox4x32-10 of counters, the plain form that follows the paper.

    Args:
        counter: uint32 [..., 4].
        key: two words of 32 bits.

    Returns:
        uint32 [..., 4].
    """
    c0, c1, c2, c3 = (counter[..., i].astype(np.uint32) for i in range(4))
    k0, k1 = int(key[0]), int(key[1])
    for _ in range(10):
        p0 = _MUL0 * c0.astype(np.uint64)
        p1 = _MUL1 * c2.astype(np.uint64)
        h0, l0 = (p0 >> _SHIFT).astype(np.uint32), (p0 & _LOW).astype(np.uint32)
        h1, l1 = (p1 >> _SHIFT).astype(np.uint32), (p1 & _LOW).astype(np.uint32)
        c0, c1, c2, c3 = h1 ^ c1 ^ np.uint32(k0), l1, h0 ^ c3 ^ np.uint32(k1), l0
        k0 = (k0 + int(_WEYL0)) & 0xFFFFFFFF
        k1 = (k1 + int(_WEYL1)) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1)


@lru_cache(maxsize=1 << 16)  # a run asks for the same few thousand again and again
def derive_key(seed: int, *words: int) -> Key:
    """Return the key of a purpose: a hash of a seed and of words that name the purpose.

    The words pass through Philox three at a time, each block keyed by the one before.

    Args:
        seed: 64 bits.
        words: whole numbers; negative ones count modulo 2**32.
    """
    k0, k1 = seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
    padded = [*words, len(words)]
    padded += [0] * (-len(padded) % 3)
    for i in range(0, len(padded), 3):
        c0, c1, c2 = (w & 0xFFFFFFFF for w in padded[i : i + 3])
        k0, k1 = philox_words(c0, c1, c2, i, k0, k1)[:2]
    return k0, k1


def philox_words(c0: int, c1: int, c2: int, c3: int, k0: int, k1: int) -> tuple[int, int, int, int]:
    """Return Philox4x32-10 of one counter, in Python's own integers."""
    for _ in range(10):
        p0 = 0xD2511F53 * c0
        p1 = 0xCD9E8D57 * c2
        c0, c1 = (p1 >> 32) ^ c1 ^ k0, p1 & 0xFFFFFFFF
        c2, c3 = (p0 >> 32) ^ c3 ^ k1, p0 & 0xFFFFFFFF
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def column_address(column: NDArray[np.int64]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return the counter's first word and the word of its output for columns."""
    block = (column // CHUNK) * _LANES + column % _LANES
    return block.astype(np.uint32), (column % CHUNK) // _LANES


def uniform_bits_at(
    columns: int, words: tuple[int | NDArray[np.int64], ...], key: Key
) -> NDArray[np.uint32]:
    """Return 32 random bits for columns 0, 1, ...: the twin of `fill_bits`.

    Args:
        columns: how many.
        words: the other three words of the address; arrays [n] ask for n addresses at once.
        key: of the stream.

    Returns:
        uint32 [columns], or [n, columns].
    """
    block, word = column_address(np.arange(columns))
    address = np.stack(np.broadcast_arrays(*words), axis=-1).astype(np.int64) & 0xFFFFFFFF
    counter = np.empty((*address.shape[:-1], columns, 4), dtype=np.uint32)
    counter[..., 0] = block
    counter[..., 1:] = address[..., None, :]
    out = philox4x32(counter.reshape(-1, 4), key).reshape(counter.shape)
    return np.asarray(out[..., np.arange(columns), word])


def normals_of_bits(bits: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Return the standard normals of 32-bit words: the twin of the compiled conversion."""
    tail = (bits & _MAGNITUDE).astype(np.int32).astype(np.float32) + np.float32(0.5)
    word = tail.view(np.uint32)
    segment = (word >> _SEGMENT_BITS) - _FIRST_SEGMENT
    z = _QUANTILE[segment] + _SLOPE[segment] * (word & _FRACTION).astype(np.float32)
    return np.asarray(np.where(bits >= _SIGN, z, -z), dtype=np.float32)


def normals_at(columns: int, words: tuple[int, int, int], key: Key) -> NDArray[np.float32]:
    """Return standard normals for columns 0, 1, ...: the twin of `fill_normals`."""
    return normals_of_bits(uniform_bits_at(columns, words, key))


@cached
@njit(error_model="numpy", inline="always")
def _philox_rounds(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    for _ in range(10):
        p0 = _MUL0 * np.uint64(c0)
        p1 = _MUL1 * np.uint64(c2)
        c0 = np.uint32(np.uint32(p1 >> _SHIFT) ^ c1 ^ k0)
        c2 = np.uint32(np.uint32(p0 >> _SHIFT) ^ c3 ^ k1)
        c1 = np.uint32(p1)
        c3 = np.uint32(p0)
        k0 = np.uint32(k0 + _WEYL0)
        k1 = np.uint32(k1 + _WEYL1)
    return c0, c1, c2, c3


@cached
@njit(error_model="numpy")
def fill_bits(out, first, w1, w2, w3, k0, k1):  # type: ignore[no-untyped-def]
    """Fill `out` with random bits of the columns first, first + 1, ...

    Args:
        out: uint32 [a multiple of CHUNK].
        first: first column, a multiple of CHUNK.
        w1: second word of the counter (the first one is the column).
        w2: third word.
        w3: fourth word.
        k0: first word of the key.
        k1: second word of the key.
    """
    b1, b2, b3 = np.uint32(w1), np.uint32(w2), np.uint32(w3)
    a0, a1 = np.uint32(k0), np.uint32(k1)
    start = np.uint32(first // 4)
    for q in range(out.size // 64):
        for b in range(16):
            r0, r1, r2, r3 = _philox_rounds(np.uint32(start + q * 16 + b), b1, b2, b3, a0, a1)
            out[q * 64 + b] = r0
            out[q * 64 + 16 + b] = r1
            out[q * 64 + 32 + b] = r2
            out[q * 64 + 48 + b] = r3


def _emit_float(_typing_context: Any, _word: Any) -> Any:
    """Emit the float32 that 32 bits encode."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


def _emit_word(_typing_context: Any, _value: Any) -> Any:
    """Emit the 32 bits of a float32."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), generate


_float_of: Any = intrinsic(_emit_float)
_word_of: Any = intrinsic(_emit_word)


@cached
@njit(error_model="numpy")
def bits_to_normals(bits, out):  # type: ignore[no-untyped-def]
    """Turn uint32 `bits` into float32 standard normals `out` of the same size."""
    for i in range(bits.size):
        word = _word_of(np.float32(np.int32(bits[i] & _MAGNITUDE)) + np.float32(0.5))
        segment = _SEGMENTS[np.uint64((word >> _SEGMENT_BITS) - _FIRST_SEGMENT)]
        quantile = _float_of(np.uint32(segment))
        slope = _float_of(np.uint32(segment >> _SHIFT))
        z = quantile + slope * np.float32(np.int32(word & _FRACTION))
        # The quantile of a tail is negative: a sign bit of 1 leaves it, 0 turns it.
        out[i] = _float_of(_word_of(z) ^ (~bits[i] & _SIGN))


@cached
@njit(error_model="numpy")
def fill_normals(out, bits, first, w1, w2, w3, k0, k1):  # type: ignore[no-untyped-def]
    """Fill `out` with standard normals of columns first, first + 1, ...; `bits` is scratch."""
    fill_bits(bits, first, w1, w2, w3, k0, k1)
    bits_to_normals(bits, out)
