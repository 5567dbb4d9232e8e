"""A pool of normals for `fast` read noise: drawn once, read at addressed places.

A normal a conversion from Philox costs more than the conversion. Here a conversion reads one byte
of a pool instead. The pool holds quantiles of N(0, 1) in steps of 1/24 (at most 127, 5.3 sigma: a
variance of 1.00014), four to a word; it is a function of a seed. Where a token reads is a function
of the conversion's address: Philox4x32-10 gives each token two words, and MurmurHash3's finaliser
of these and the number of a round (row group, stored column, up to four planes) names a run of
consecutive words, one for each output; their bytes serve the planes.

Marginals are those of N(0, 1). What is not: two runs overlap with probability of about
outputs / words, so that conversions of different tokens may share draws at different outputs; one
output's own conversions almost never do.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cimsim.backends.torch.normals import normals_of_words, philox
from cimsim.errors import CimsimError
from cimsim.rng import Key, derive_key

__all__ = [
    "MOST_OUTPUTS",
    "STEPS_PER_SIGMA",
    "NoisePool",
    "planes_of_round",
    "pool_normals",
    "run_starts",
    "window_key",
]

STEPS_PER_SIGMA = 24
MOST_OUTPUTS = 1 << 18  # beyond any vocabulary
_PURPOSE_POOL, _PURPOSE_WINDOW = 32, 33
_LOW = 0xFFFFFFFF
_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class NoisePool:
    """Normals in bytes on a device.

    Attributes:
        words: int32 [2^bits + MOST_OUTPUTS], four bytes each, stored with 128 added; beyond
            2^bits they begin anew, as often as it takes.
        bits: of the number of words.
    """

    words: Tensor
    bits: int

    @classmethod
    def draw(cls, seed: int, device: torch.device | str, bits: int = 23) -> NoisePool:
        """Draw a pool of 2^bits words.

        Args:
            seed: of fresh noise.
            device: where it is kept.
            bits: 23 are 32 MiB, within the second-level cache of a large GPU.

        Raises:
            CimsimError: if the pool is too small or too large.
        """
        if not 14 <= bits <= 28:
            raise CimsimError("a pool of normals has 2^14 to 2^28 words", value=bits)
        key, parts = derive_key(seed, _PURPOSE_POOL), []
        zero = torch.zeros((), dtype=torch.int64, device=device)
        for first in range(0, 1 << bits, _AT_ONCE):
            last = min(first + _AT_ONCE, 1 << bits)
            at = torch.arange(first, last, device=device)
            z = torch.stack([normals_of_words(w) for w in philox((at, zero, zero, zero), key)], 1)
            byte = torch.round(z * STEPS_PER_SIGMA).clamp(-127, 127) + 128
            parts.append(byte.to(torch.uint8).view(torch.int32)[:, 0])
        whole = torch.cat(parts)
        words = len(whole) + MOST_OUTPUTS
        return cls(whole.repeat(-(-words // len(whole)))[:words], bits)

    @property
    def shift(self) -> int:
        """How far a 32-bit word is shifted to name a run, which starts at whole 16 bytes."""
        return 32 - (self.bits - 2)


def window_key(read_seed: int, words: tuple[int, int, int], replica: int) -> Key:
    """Return the key of the places that conversions of one copy read from."""
    return derive_key(read_seed, _PURPOSE_WINDOW, *words, replica)


def run_starts(pool: NoisePool, number: int, tokens: tuple[Tensor, Tensor], key: Key) -> Tensor:
    """Return the first word that each token reads in a round, int64 [n].

    Args:
        pool: the pool.
        number: of the round: row groups, stored columns, phases and rounds of a phase in turn.
        tokens: sequence and position, int64 [n] each.
        key: from `window_key`.
    """
    sequence, position = tokens
    none = torch.zeros_like(position)
    first, second, _, _ = philox((none, none, position & _LOW, sequence & _LOW), key)
    h = (first + number * 0x9E3779B9 & _LOW) ^ second
    h = (h ^ h >> 16) * 0x85EBCA6B & _LOW
    h = (h ^ h >> 13) * 0xC2B2AE35 & _LOW
    return (h ^ h >> 16) >> pool.shift << 2


def planes_of_round(each: int, most: int = 4) -> int:
    """Return how many of the `each` planes of a phase go together: a divisor, at most `most`."""
    return next(p for p in range(min(most, each), 0, -1) if each % p == 0)


def pool_normals(
    pool: NoisePool,
    group: int,
    planes: tuple[int, int],
    widths: list[int],
    tokens: tuple[Tensor, Tensor],
    key: Key,
) -> Tensor:
    """Return the normals of the conversions of a row group, float32 [n, planes, columns].

    Args:
        pool: the pool.
        group: row group.
        planes: phases, and planes of each.
        widths: outputs of each stored column, then how many unit columns there are, if any.
        tokens: sequence and position, int64 [n] each.
        key: from `window_key`.
    """
    device, columns = pool.words.device, []
    phases, each = planes
    together = planes_of_round(each)
    rounds = phases * each // together  # of one stored column
    for column, width in enumerate(widths):
        output, found = torch.arange(width, device=device), []
        first = (group * len(widths) + column) * rounds
        for number in range(first, first + rounds):
            word = pool.words[run_starts(pool, number, tokens, key)[:, None] + output]
            found += [(word >> 8 * byte & 255) - 128 for byte in range(together)]
        columns.append(torch.stack(found, dim=1))
    return torch.cat(columns, dim=2).float() / STEPS_PER_SIGMA
