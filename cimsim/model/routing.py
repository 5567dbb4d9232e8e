"""From router logits to chosen experts: correction, copies, top-k, gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimInternalError
from cimsim.model.kernels.selection import select
from cimsim.workload.program import TokenKeys

if TYPE_CHECKING:
    from cimsim.model.architecture import Block
    from cimsim.model.router_correction import RouterCorrection

__all__ = ["Routing", "RoutingRecord", "route_logits"]

Array = NDArray[np.float32]


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


def stack_routing(layers: list[Routing], n_tokens: int) -> RoutingRecord:
    """Return the record of a pass from the routing of its MoE layers in order."""
    if not layers:
        return RoutingRecord(
            np.zeros((n_tokens, 0, 0), dtype=np.int16), np.zeros((n_tokens, 0, 0), dtype=np.float32)
        )
    return RoutingRecord(
        np.stack([r.experts for r in layers], axis=1), np.stack([r.gates for r in layers], axis=1)
    )


def route_logits(
    logits: Array, tokens: TokenKeys, block: Block, correction: RouterCorrection | None
) -> Routing:
    """Return the experts and gates of a batch from the router's logits.

    Args:
        logits: float32 [n, experts] as the router's matrix gave them.
        tokens: addresses of the n rows.
        block: the layer's block.
        correction: what calibration does to this layer's logits, if anything.
    """
    if logits.shape != (tokens.position.shape[0], block.n_experts):
        raise CimsimInternalError(f"router logits have shape {logits.shape}")
    if correction is not None:
        logits = correction.apply(logits, block.top_k)
    experts, gates = select(
        logits, block.top_k, renormalise=block.renormalise, scale=block.gate_scale
    )
    if correction is not None:
        experts = correction.assign_copies(experts, tokens)
    return Routing(experts, gates, logits)
