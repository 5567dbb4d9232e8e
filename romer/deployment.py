"""What a calibrator may know of a chip: its digital outputs, and that it can be rewritten."""

from __future__ import annotations

from typing import Literal, Protocol

from cimsim.model import Correction, Linear

Mode = Literal["detailed", "folded"]

__all__ = ["Deployment", "Mode"]


class Deployment(Protocol):
    """A model programmed on one chip, seen from outside.

    Nothing here reveals conductances, noise, the chip seed or sigma: only products after
    the converters, with read noise on, in the deployed mode.
    """

    def linear(self, correction: Correction | None, *, read_seed: int, mode: Mode) -> Linear:
        """Return the chip's products once the rewrites of a correction are carried out.

        Args:
            correction: slots and routers to rewrite; None leaves the chip as it is.
            read_seed: which draw of the fresh read noise.
            mode: detailed or folded.
        """
        ...

    def copies(self, layer: int, expert: int) -> int:
        """Return how many copies of an expert are placed: 0 if it runs digitally.

        Args:
            layer: decoder layer.
            expert: routed expert.
        """
        ...
