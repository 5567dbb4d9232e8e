"""What the SimPy scheduler tells a model that computes its numbers as simulated time passes.

In coupled mode the engine drives the model: it says when a flight's digital job is done
(the inputs of the stage after it are then known, and with them where its tokens go), when a
visit is served, and when an expert has been written into a slot. What a visit computes may
depend on that moment. Only the SimPy scheduler calls back; compiled code cannot.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.visit import Visit

__all__ = ["Numbers", "rows_of_visit"]


class Numbers(Protocol):
    """A model on a chip in time."""

    def stage(self, flight: int, step: int) -> None:
        """The digital job of a step is done; routing of its visits must be known after this.

        The routing of the flight's tokens is written into `Plan.experts`.
        """

    def serve(self, visit: Visit, start_ps: int) -> None:
        """A visit is served from `start_ps` on, on its site."""

    def written(self, slot: int, expert: int, end_ps: int) -> None:
        """An expert (id) has been written into a slot, the last cell at `end_ps`."""


def rows_of_visit(visit: Visit) -> NDArray[np.int64]:
    """Return which tokens of its flight a visit holds, int64 [size], rising."""
    bits = np.unpackbits(visit.mask.view(np.uint8), bitorder="little")
    rows: NDArray[np.int64] = np.flatnonzero(bits)
    return rows
