"""The matrix product that a decoder asks for: the border between model and hardware."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["Linear"]


class Linear(Protocol):
    """Evaluates matrix products of a decoder: digitally, or on noisy crossbars.

    An implementation gives each row from that row and its token's address alone, so that
    results do not depend on how a batch is cut. Biases are not its business: the decoder
    adds them digitally.
    """

    def __call__(
        self, matrix: MatrixId, x: NDArray[np.float32], tokens: TokenKeys
    ) -> NDArray[np.float32]:
        """Return x @ W of one matrix.

        Args:
            matrix: which matrix.
            x: float32 [n, n_in], C-contiguous.
            tokens: addresses of the n rows.

        Returns:
            float32 [n, n_out].
        """
        ...
