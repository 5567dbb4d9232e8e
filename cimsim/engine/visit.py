"""Expert visits, as a model beside the engine sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Visit"]


@dataclass(frozen=True, eq=False)
class Visit:
    """One group of a flight's tokens that one site serves.

    Attributes:
        flight: whose tokens.
        site: where they are served.
        expert: expert id if the expert lives in slots, else -1.
        size: tokens.
        mask: uint64 words, which tokens of the flight.
    """

    flight: int
    site: int
    expert: int
    size: int
    mask: NDArray[np.uint64]
