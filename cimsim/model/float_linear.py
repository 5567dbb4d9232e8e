"""The digital reference of every matrix product."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.model.checkpoint import Checkpoint
from cimsim.model.kernels.product import product
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["FloatLinear"]


class FloatLinear:
    """The digital reference: exact weights, float32 products in a fixed order.

    Matrices come from the checkpoint, which keeps those asked for last.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def __call__(
        self, matrix: MatrixId, x: NDArray[np.float32], tokens: TokenKeys
    ) -> NDArray[np.float32]:
        """Return x @ W; `tokens` has no influence on a noiseless product."""
        del tokens
        weight = self._checkpoint.matrix(matrix)
        return product(np.ascontiguousarray(x, dtype=np.float32), weight)
