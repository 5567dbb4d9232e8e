"""A `Linear` with the digital corrections of its matrix outputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.model.correction import Correction
from cimsim.model.kernels.product import product
from cimsim.model.linear import Linear
from cimsim.workload.matrix import MatrixId, TokenKeys

__all__ = ["CorrectedLinear"]

Array = NDArray[np.float32]


class CorrectedLinear:
    """Applies, per matrix: y' = scale * (x W + x U V) + offset.

    A router refit in digital arithmetic replaces the product of the router altogether.
    Corrections whose matrix has none cost nothing.

    Args:
        linear: the products to correct.
        correction: per-matrix scales, offsets, low-rank terms and digital router refits.
    """

    def __init__(self, linear: Linear, correction: Correction) -> None:
        self._linear = linear
        self._columns = correction.columns
        self._low_rank = correction.low_rank
        self._routers = {
            MatrixId(layer, "router"): refit.weight
            for layer, refit in correction.router_refit.items()
            if refit.where == "digital"
        }

    def __call__(self, matrix: MatrixId, x: Array, tokens: TokenKeys) -> Array:
        """Return the corrected product, float32 [n, n_out]."""
        router = self._routers.get(matrix)
        y = self._linear(matrix, x, tokens) if router is None else product(x, router)
        low_rank = self._low_rank.get(matrix)
        if low_rank is not None:
            y = y + product(product(x, low_rank.u), low_rank.v)
        columns = self._columns.get(matrix)
        if columns is not None:
            y = y * columns.scale + columns.offset
        return y
