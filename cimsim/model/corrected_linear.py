"""A `Linear` with the digital corrections of its matrix outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.model.array_backend import ArrayBackend
from cimsim.model.correction import Correction
from cimsim.model.linear import ExpertCall, ExpertLinear, Linear
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
        backend: whose arrays the products are.
    """

    def __init__(self, linear: Linear, correction: Correction, backend: ArrayBackend) -> None:
        self._linear, self._of, self._correction = linear, backend.of_layer, correction

        def there(matrix: MatrixId, *values: Array) -> tuple[Array, ...]:
            return tuple(backend.of_layer(matrix.layer).array(each) for each in values)

        self._columns = {m: there(m, c.scale, c.offset) for m, c in correction.columns.items()}
        self._low_rank = {m: there(m, term.u, term.v) for m, term in correction.low_rank.items()}
        routers = {MatrixId(layer, "router"): r for layer, r in correction.router_refit.items()}
        self._routers = {
            matrix: there(matrix, refit.weight)[0]
            for matrix, refit in routers.items()
            if refit.where == "digital"
        }

    def __call__(self, matrix: MatrixId, x: Array, tokens: TokenKeys) -> Array:
        """Return the corrected product, float32 [n, n_out]."""
        product, router = self._of(matrix.layer).product, self._routers.get(matrix)
        y = self._linear(matrix, x, tokens) if router is None else product(x, router)
        low_rank = self._low_rank.get(matrix)
        if low_rank is not None:
            u, v = low_rank
            y = y + product(product(x, u), v)
        columns = self._columns.get(matrix)
        if columns is not None:
            scale, offset = columns
            y = y * scale + offset
        return y

    def serve_experts(self, call: ExpertCall) -> tuple[Array, frozenset[int]] | None:
        """Return the corrected sum of some experts, if the products are served together."""
        if not isinstance(self._linear, ExpertLinear):
            return None
        matrices = [m.id for three in call.experts for m in three]
        columns, low_rank = self._correction.columns, self._correction.low_rank
        corrected = replace(
            call,
            columns={m: columns[m] for m in matrices if m in columns},
            low_rank={m: low_rank[m] for m in matrices if m in low_rank},
        )
        return self._linear.serve_experts(corrected)
