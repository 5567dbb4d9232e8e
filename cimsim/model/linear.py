"""The matrix product that a decoder asks for: the border between model and hardware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cimsim.model.correction_steps import ColumnCorrection, LowRank
from cimsim.model.routing import Routing
from cimsim.workload.matrix import Matrix, MatrixId, TokenKeys

__all__ = ["ExpertCall", "ExpertLinear", "Linear", "Registers"]

Array = NDArray[np.float32]


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


@dataclass(frozen=True)
class Registers:
    """Trim registers behind the converters of one copy: y' = gain y + offset m.

    Attributes:
        gain: float32 [n_out], an array of the backend.
        offset: float32 [n_out], in units of m, the greatest magnitude of a token's inputs.
        top: m where the input scale is static, None where each token has its own.
    """

    gain: Array
    offset: Array
    top: float | None


@dataclass(frozen=True)
class ExpertCall:
    """The products of all routed experts of a layer at once.

    Attributes:
        layer: of the decoder.
        experts: gate, up and down of each.
        x: float32 [n, d_model], inputs.
        tokens: addresses of the n rows.
        routing: where they go.
        columns: digital corrections of columns, by matrix.
        low_rank: digital low-rank terms, by matrix.
        trims: registers behind the converters of the copies that are read, by matrix.
    """

    layer: int
    experts: tuple[tuple[Matrix, ...], ...]
    x: Array
    tokens: TokenKeys
    routing: Routing
    columns: Mapping[MatrixId, ColumnCorrection] = field(default_factory=dict)
    low_rank: Mapping[MatrixId, LowRank] = field(default_factory=dict)
    trims: Mapping[MatrixId, Registers] = field(default_factory=dict)


@runtime_checkable
class ExpertLinear(Protocol):
    """A `Linear` that may serve the experts of a layer together."""

    def serve_experts(self, call: ExpertCall) -> tuple[Array, frozenset[int]] | None:
        """Return the sum by gates of some experts' outputs, and which; None for one at a time.

        Experts are down(silu(gate(x)) * up(x)); what is returned is float32 [n, d_model].
        """
        ...
