"""Small tables of the host on a device, sent without a wait for what it is busy with.

A copy from memory that is not pinned is staged before the call returns, so that the host may
change its own at once.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimsim.rng import Key

__all__ = ["constant", "sent", "signed_words"]


def signed_words(key: Key) -> list[int]:
    """Return the words of a key as a kernel reads them: signed."""
    return [k - (1 << 32) if k >= 1 << 31 else k for k in key]


def sent(values: object, device: torch.device | str, dtype: torch.dtype | None = None) -> Tensor:
    """Return a copy of values (an array, a list of numbers) on a device."""
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)


def constant(values: NDArray[np.generic], device: torch.device) -> Tensor:
    """Return a table that many matrices share, in its own type; it must not be changed."""
    return _constant(values.tobytes(), values.dtype.str, values.shape, torch.device(device))


@lru_cache(maxsize=1024)
def _constant(values: bytes, dtype: str, shape: tuple[int, ...], device: torch.device) -> Tensor:
    return sent(np.frombuffer(values, dtype=dtype).reshape(shape).copy(), device)
