"""Perplexity, bits per byte and expert load of a trained network on the held-out text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cimsim.zoo.corpus import SCORED_TOKENS
from cimsim.zoo.network import DecoderNetwork
from cimsim.zoo.specs import CONTEXT


@dataclass(frozen=True)
class Evaluation:
    """Figures of one checkpoint on the development split.

    Attributes:
        nll_nats: Mean negative log likelihood, nats per token.
        perplexity: exp(nll_nats).
        bits_per_byte: Total bits over the UTF-8 bytes of the predicted tokens.
        load_cv: Standard deviation over mean of the experts' token counts, mean over layers.
        idle_experts: Experts per layer that see less than a tenth of the mean load.
    """

    nll_nats: float
    perplexity: float
    bits_per_byte: float
    load_cv: float
    load_cv_layers: tuple[float, ...]
    idle_experts: tuple[int, ...]


@torch.no_grad()
def evaluate(network: DecoderNetwork, heldout: NDArray[np.uint16], scored_bytes: int) -> Evaluation:
    """Score windows of 256 tokens, 255 predictions each, no BOS, nothing carried over.

    Args:
        network: The network, in float32.
        heldout: Token ids of the held-out text; the first 40,960 are scored.
        scored_bytes: UTF-8 bytes of the predicted tokens.
    """
    device = next(network.parameters()).device
    windows = torch.from_numpy(heldout[:SCORED_TOKENS].astype(np.int64)).view(-1, CONTEXT)
    network.eval()
    losses, loads = [], []
    for batch in torch.split(windows, 16):
        loss, _, _, load = network(batch.to(device))
        losses.append(loss.double().sum().item())
        loads.append(load.double().cpu() * batch.shape[0])
    network.train()
    predictions = windows.shape[0] * (CONTEXT - 1)
    load = torch.stack(loads).sum(0)
    cv = load.std(1, unbiased=False) / load.mean(1)
    idle = (load < 0.1 * load.mean(1, keepdim=True)).sum(1)
    nll = sum(losses) / predictions
    return Evaluation(
        nll_nats=nll,
        perplexity=float(np.exp(nll)),
        bits_per_byte=float(sum(losses) / np.log(2.0) / scored_bytes),
        load_cv=cv.mean().item(),
        load_cv_layers=tuple(round(v, 4) for v in cv.tolist()),
        idle_experts=tuple(int(v) for v in idle.tolist()),
    )
