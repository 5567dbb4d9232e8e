"""What a calibrator may know of a chip: its digital outputs, and that it can be rewritten."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cimsim.model import Correction, Linear
from cimsim.workload.matrix import AnalogPart, MatrixId

Mode = Literal["detailed", "folded"]

__all__ = ["BroughtUp", "Deployment", "Mode"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class BroughtUp:
    """One copy of a matrix as a chip's bring-up reads it, before any text.

    Attributes:
        matrix: whose cells these are.
        copy: which copy, from 0.
        source: whose weights they hold: another expert's where a slot was rewritten.
        top: greatest magnitude of test inputs: 1 where every token has a scale of its own.
        lsb: gives what one LSB of the source's weights stands for, by column, float32 [n_out]; a
            router that was refitted and written anew has other ones.
        read: float32 [n, n_in] inputs to float32 [n, n_out], after the converters.
    """

    matrix: MatrixId
    copy: int
    source: MatrixId
    top: float
    lsb: Callable[[], Floats]
    read: Callable[[Floats], Floats]


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

    def bring_up(
        self,
        correction: Correction | None,
        *,
        read_seed: int,
        mode: Mode,
        which: Set[MatrixId] | None = None,
    ) -> Iterator[BroughtUp]:
        """Yield every copy of some analog matrices with a place of their own, without trims.

        Slots of a chip that switches experts are left out: what they hold changes.

        Args:
            correction: slots and routers to rewrite, copies to make; None for none.
            read_seed: which draw of the fresh read noise.
            mode: detailed or folded.
            which: matrices, None for all.
        """
        ...

    def copies(self, layer: int, expert: int, part: AnalogPart = "experts") -> int:
        """Return how many copies of a unit are placed.

        0 if it runs digitally, or has no place of its own because experts are switched.

        Args:
            layer: decoder layer.
            expert: routed expert, or -1 for a part that no router selects.
            part: part of the model.
        """
        ...

    @property
    def recodes(self) -> bool:
        """Whether the model can be written in other codes, columns clipped and scaled anew."""
        ...

    def room_for(self, parts: Sequence[AnalogPart]) -> int:
        """Return how many further copies of all units of some parts idle crossbars hold.

        Args:
            parts: parts of the model, e.g. attention and router.
        """
        ...
