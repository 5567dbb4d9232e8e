"""What a pass through the decoder lets others see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.model.routing import Routing
from cimsim.workload.matrix import TokenKeys

__all__ = ["Observer"]

Array = NDArray[np.float32]


class Observer:
    """Sees the digital signals of a pass; override the methods of interest.

    Arrays are the decoder's own and must not be changed; copy what must outlive the call. States
    are the backend's, router logits are on the host.
    Inputs and outputs of single matrices are seen by wrapping the `Linear`.
    """

    def norm(self, layer: int, name: str, tokens: TokenKeys, normed: Array) -> None:
        """See the normed inputs of a block (attention, block, final), float32 [n, d_model]."""

    def router(self, layer: int, tokens: TokenKeys, inputs: Array, logits: Array) -> None:
        """See a router: its inputs [n, d_model] and logits [n, experts] before correction."""

    def routing(self, layer: int, tokens: TokenKeys, routing: Routing) -> None:
        """See the corrected logits, the chosen experts and their gates."""
