"""What a run reads: one copy of a matrix on crossbars, whoever computes its products."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cimsim.mac import MacStatistics, Mode
from cimsim.workload.matrix import TokenKeys

__all__ = ["Copy"]

Floats = NDArray[np.float32]


class Copy(Protocol):
    """One copy of a matrix on crossbars, whichever library computes its products.

    `cimsim.mac.ProgrammedMatrix` and `IdealMatrix` are copies; arrays are the backend's.
    """

    @property
    def folds(self) -> bool:
        """Whether the folded form is faithful."""
        ...

    def multiply(
        self,
        x: Floats,
        keys: TokenKeys,
        *,
        read_seed: int,
        mode: Mode,
        replica: int,
        statistics: MacStatistics | None,
    ) -> Floats:
        """Return the product of tokens, as `ProgrammedMatrix.multiply` does."""
        ...

    @property
    def held_bytes(self) -> int:
        """Bytes that it takes, its folded form included."""
        ...

    def forget_folded(self) -> None:
        """Free the folded form; it is made again when it is next used."""
        ...
