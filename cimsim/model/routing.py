"""From router logits to chosen experts: correction, copies, top-k, gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimInternalError
from cimsim.model.router_correction import RouterCorrection
from cimsim.workload.matrix import TokenKeys
from cimsim.workload.operations import Route

__all__ = ["Chooser", "Routing", "RoutingRecord", "route_logits"]

Array = NDArray[np.float32]


Chooser = Callable[[Array], tuple[NDArray[np.int16], Array]]
"""From logits [n, experts] to the experts of each token and their gates, [n, k]."""


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
    choose: Chooser,
) -> Routing:
    """Return the experts and gates of a batch from the router's logits.

    Args:
        logits: float32 [n, experts] as the router's matrix gave them.
        tokens: addresses of the n rows.
        route: the operation.
        correction: what calibration does to this layer's logits, if anything.
        choose: finds experts and gates.
    """
    if logits.shape != (tokens.position.shape[0], route.router.n_out):
        raise CimsimInternalError(f"router logits have shape {logits.shape}")
    if correction is not None:
        logits = correction.apply(logits, route.top_k)
    experts, gates = choose(logits)
    if correction is not None:
        experts = correction.assign_copies(experts, tokens)
    return Routing(experts, gates, logits)
