"""Addressed normals of many rows on the processor: those of `cimsim.rng`, compiled.

Torch has no arithmetic of unsigned words, and takes 120 passes over all of them for what a compiled
loop does in registers; `normals.plain_column_normals` is the twin.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cimsim.kernel_cache import cached
from cimsim.rng import CHUNK, Key, fill_normals

__all__ = ["host_normals"]


@cached
@njit(error_model="numpy")
def _fill_rows(out, words, first, k0, k1):  # type: ignore[no-untyped-def]
    """Fill rows with the normals of columns first, first + 1, ...

    Args:
        out: float32 [rows, a multiple of CHUNK].
        words: int64 [rows, 3], second to fourth word of the counters.
        first: first column, a multiple of CHUNK.
        k0: first word of the key.
        k1: second word of the key.
    """
    bits = np.empty(out.shape[1], np.uint32)
    for i in range(out.shape[0]):
        fill_normals(out[i], bits, first, words[i, 0], words[i, 1], words[i, 2], k0, k1)


def host_normals(
    columns: int, words: NDArray[np.int64], key: Key, first: int
) -> NDArray[np.float32]:
    """Return the normals of columns `first`, `first` + 1, ... of rows, float32 [rows, columns].

    Args:
        columns: how many.
        words: int64 [rows, 3], second to fourth word of the counters.
        key: of their purpose.
        first: first column.
    """
    low, high = first // CHUNK * CHUNK, -(-(first + columns) // CHUNK) * CHUNK
    out = np.empty((len(words), high - low), dtype=np.float32)
    _fill_rows(out, np.ascontiguousarray(words), low, *key)
    return np.ascontiguousarray(out[:, first - low : first - low + columns])
