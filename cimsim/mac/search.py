"""Comparisons of a successive approximation that starts at 0, from its lowest bit.

A binary search takes b comparisons for every code of b bits. One that expects small codes asks for
the sign first (s = 1 where sums have both), then whether the magnitude m reaches 1, 2, 4, ... up to
the highest power of two in the range, and halves the last step. With L bits in m it takes::

    s + 1                                      m = 0
    s + 2 L - 1 + [2^L within the range]       m > 0

fewer than b where m has fewer than about b / 2 bits, and up to twice as many where it fills the
range. The code is that of a binary search. Counted from the search itself; the idea is LSB-first
successive approximation, from a guess that lies near (Yaul and Chandrakasan, IEEE JSSC 2014), whose
guess is the last sample: column sums of one column are not alike from one to the next, but small.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["comparisons"]


def comparisons(low: int, high: int) -> NDArray[np.int64]:
    """Return the comparisons of every code from `low` to `high`, int64 [codes].

    Args:
        low: lowest code, 0 where no sum is negative.
        high: highest code.
    """
    found = []
    for code in range(low, high + 1):
        bits, reach = abs(code).bit_length(), -low if code < 0 else high
        further = 1 if 1 << bits <= reach else 0
        found.append(2 * bits - 1 + further if code else 1)
    return np.array(found, dtype=np.int64) + (1 if low < 0 else 0)
