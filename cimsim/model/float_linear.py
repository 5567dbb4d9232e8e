"""The digital reference of every matrix product."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.model.array_backend import ArrayBackend, NumbaBackend
from cimsim.model.checkpoint import Checkpoint
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["FloatLinear"]


class FloatLinear:
    """The digital reference: exact weights, float32 products.

    Matrices come from the checkpoint, through the backend.

    Args:
        checkpoint: the model.
        backend: whose arrays are multiplied; NumPy's by default, in a fixed order.

    Attributes:
        backend: whose arrays are multiplied.
    """

    def __init__(self, checkpoint: Checkpoint, backend: ArrayBackend | None = None) -> None:
        self._checkpoint = checkpoint
        self.backend: ArrayBackend = backend or NumbaBackend()

    def __call__(
        self, matrix: MatrixId, x: NDArray[np.float32], tokens: TokenKeys
    ) -> NDArray[np.float32]:
        """Return x @ W; `tokens` has no influence on a noiseless product."""
        del tokens
        backend = self.backend.of_layer(matrix.layer)
        return backend.product(x, backend.weight(self._checkpoint, matrix))
