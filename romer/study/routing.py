"""How far the routing of a chip is from that of the clean model, on the same tokens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.elementary_arrays import exp_of, log_of
from cimsim.model import Observer
from cimsim.model.routing import Routing
from cimsim.workload.matrix import TokenKeys

__all__ = ["RoutingLogits", "routing_divergence"]

CHUNK_TOKENS = 4096  # bounds the memory of probabilities


class RoutingLogits(Observer):
    """Keeps the corrected logits of every router over a text.

    Args:
        tokens: of the text, whose windows are numbered from 0 and read in order.
    """

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self.by_layer: dict[int, NDArray[np.float32]] = {}
        self._filled: dict[int, int] = {}

    def routing(self, layer: int, tokens: TokenKeys, routing: Routing) -> None:
        """Keep the logits of one batch."""
        del tokens
        logits = routing.logits
        if layer not in self.by_layer:
            self.by_layer[layer] = np.empty((self._tokens, logits.shape[1]), dtype=np.float32)
        start = self._filled.get(layer, 0)
        self.by_layer[layer][start : start + len(logits)] = logits
        self._filled[layer] = start + len(logits)


def routing_divergence(clean: RoutingLogits, found: RoutingLogits) -> float:
    """Return KL(clean || found) of the routers' softmax, nats, over tokens and layers.

    A copied expert's slot has a logit of -inf where its source answers: its probability is
    the source's, so such a router has no divergence to speak of and gives nan.
    """
    total, count = 0.0, 0
    for layer, reference in clean.by_layer.items():
        for start in range(0, len(reference), CHUNK_TOKENS):
            rows = slice(start, start + CHUNK_TOKENS)
            p, q = (_log_softmax(z) for z in (reference[rows], found.by_layer[layer][rows]))
            if not np.isfinite(q).all():
                return float("nan")
            total += float((exp_of(p) * (p - q)).sum())
            count += len(p)
    return total / count if count else float("nan")


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    z = logits.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    return np.asarray(z - log_of(exp_of(z).sum(axis=1, keepdims=True)))
