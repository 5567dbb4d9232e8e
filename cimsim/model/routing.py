"""From router logits to chosen experts: correction, copies, top-k, gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimInternalError
from cimsim.model.router_correction import RouterCorrection
from cimsim.workload.matrix import TokenKeys
from cimsim.workload.operations import Route

__all__ = ["Routing", "RoutingRecord", "route_logits"]

Array = NDArray[np.float32]


class Select(Protocol):
    """`ArrayBackend.select`."""

    def __call__(
        self, logits: Array, top_k: int, *, renormalise: bool, scale: float
    ) -> tuple[NDArray[np.int16], Array]: ...


@dataclass(frozen=True)
class Routing:
    """Where the tokens of one batch go in one layer.

    Attributes:
        experts: int16 [n, k], from the largest logit down; k = 0 in a dense layer.
        gates: float32 [n, k], weights of the experts' outputs.
        logits: float32 [n, experts], after correction, as the choice was made.
    """

    experts: NDArray[np.int16]
    gates: Array
    logits: Array


@dataclass(frozen=True)
class RoutingRecord:
    """Where all tokens went, for replay and for statistics.

    Attributes:
        experts: int16 [n, moe_layers, k].
        gates: float32 [n, moe_layers, k].
    """

    experts: NDArray[np.int16]
    gates: Array

    def rows(self, start: int, stop: int) -> RoutingRecord:
        """Return the record of tokens `start` to `stop`."""
        return RoutingRecord(self.experts[start:stop], self.gates[start:stop])

    def layer(self, index: int) -> Routing:
        """Return one MoE layer (counted among MoE layers) as a forced routing."""
        empty = np.zeros((self.experts.shape[0], 0), dtype=np.float32)
        return Routing(
            np.ascontiguousarray(self.experts[:, index]),
            np.ascontiguousarray(self.gates[:, index]),
            empty,
        )


def route_logits(
    logits: Array,
    tokens: TokenKeys,
    route: Route,
    correction: RouterCorrection | None,
    select: Select,
) -> Routing:
    """Return the experts and gates of a batch from the router's logits.

    Args:
        logits: float32 [n, experts] as the router's matrix gave them.
        tokens: addresses of the n rows.
        route: the operation.
        correction: what calibration does to this layer's logits, if anything.
        select: `ArrayBackend.select`.
    """
    if logits.shape != (tokens.position.shape[0], route.router.n_out):
        raise CimsimInternalError(f"router logits have shape {logits.shape}")
    if correction is not None:
        logits = correction.apply(logits, route.top_k)
    experts, gates = select(
        logits, route.top_k, renormalise=route.renormalise, scale=route.gate_scale
    )
    if correction is not None:
        experts = correction.assign_copies(experts, tokens)
    return Routing(experts, gates, logits)
