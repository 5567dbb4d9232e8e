"""Addressed random numbers in plain torch: the bits of `cimsim.rng`.

Words of 32 bits live in int64, because torch has no arithmetic of unsigned words; products of two
words wrap modulo 2^64, of which the upper half is taken without its sign.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from cimsim.rng import _QUANTILE, _SLOPE, CHUNK, Key

__all__ = ["column_normals", "normals_of_words", "packed_table", "philox"]

_LOW = 0xFFFFFFFF
_MUL0, _MUL1 = 0xD2511F53, 0xCD9E8D57
_WEYL0, _WEYL1 = 0x9E3779B9, 0xBB67AE85
_SEGMENT_BITS = 17
_FIRST_SEGMENT = 0x3F000000 >> _SEGMENT_BITS
_LANES = CHUNK // 4


def philox(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: Key, rounds: int = 10
) -> tuple[Tensor, ...]:
    """Return the four words of Philox4x32 (Salmon et al., SC 2011) of counters.

    Args:
        counter: four int64 tensors of words below 2^32, of shapes that broadcast.
        key: two words.
        rounds: 10, or the 7 that are the fewest that pass all tests of randomness.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        p0, p1 = _MUL0 * c0, _MUL1 * c2
        c0, c1, c2, c3 = (
            (p1 >> 32 & _LOW) ^ c1 ^ k0, p1 & _LOW, (p0 >> 32 & _LOW) ^ c3 ^ k1, p0 & _LOW,
        )  # fmt: skip
        k0, k1 = (k0 + _WEYL0) & _LOW, (k1 + _WEYL1) & _LOW
    return c0, c1, c2, c3


@cache
def segment_table(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return quantile and slope at the left end of each segment, float32 [2049] each."""
    return torch.tensor(_QUANTILE, device=device), torch.tensor(_SLOPE, device=device)


@cache
def packed_table(device: torch.device) -> Tensor:
    """Return the table as the kernels fetch it: int64 [2049], slope above quantile."""
    quantile, slope = (part.view(torch.int32).long() for part in segment_table(device))
    return quantile & _LOW | slope << 32


def normals_of_words(words: Tensor) -> Tensor:
    """Return the standard normals of 32-bit words (int64), float32: quantile by table."""
    quantile, slope = segment_table(words.device)
    tail = (words & 0x7FFFFFFF).to(torch.float32) + 0.5
    bits = tail.view(torch.int32)
    segment = (bits >> _SEGMENT_BITS) - _FIRST_SEGMENT
    rise = slope[segment] * (bits & ((1 << _SEGMENT_BITS) - 1)).to(torch.float32)
    z = quantile[segment] + rise
    return torch.where(words >= 1 << 31, z, -z)


def column_normals(
    columns: int, words: tuple[Tensor, Tensor, Tensor], key: Key, *, first: int = 0
) -> Tensor:
    """Return the normals of columns `first`, `first` + 1, ... as `rng.fill_normals` draws them.

    Args:
        columns: how many.
        words: second, third and fourth word of the counters, int64 of shapes that broadcast.
        key: of their purpose.
        first: first column.

    Returns:
        float32 [shape of the words, columns].
    """
    column = torch.arange(first, first + columns, device=words[0].device)
    low, high = first // CHUNK, (first + columns - 1) // CHUNK + 1
    block = torch.arange(low * _LANES, high * _LANES, device=column.device)
    w1, w2, w3 = ((w & _LOW)[..., None] for w in words)
    drawn = torch.stack(philox((block, w1, w2, w3), key), dim=-2)
    lane = column // CHUNK * _LANES + column % _LANES - low * _LANES
    return normals_of_words(drawn[..., column % CHUNK // _LANES, lane])
