"""Synthetic routing: Zipf or gamma popularity, correlated between layers, drifting.

Each token draws k different experts per layer without replacement, with chances proportional
to the experts' popularity: the k largest of log(popularity) + Gumbel noise (the Gumbel
top-k rule; Kool, van Hoof and Welling, ICML 2019). Noise is addressed by (seed, layer,
sequence, position, expert), so a token's experts don't depend on how many others there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cimsim.elementary_arrays import exp_of, log_number, log_of
from cimsim.errors import CimsimError
from cimsim.kernel_cache import cached
from cimsim.rng import CHUNK, derive_key, fill_bits, uniform_bits_at
from cimsim.workload.program import Program
from cimsim.workload.trace import RoutingTrace

__all__ = ["Popularity", "gamma_popularity", "synthetic_trace", "zipf_popularity"]

Float64 = NDArray[np.float64]
# Purposes of random numbers.
_PERMUTE, _GAMMA, _ROUTE, _TOPIC = 61, 62, 63, 64


@dataclass(frozen=True)
class Popularity:
    """How tokens choose experts.

    Attributes:
        kind: zipf (popularity of the r-th expert ~ r^-skew) or gamma (shares drawn from a
            gamma distribution of shape `skew`, scale 1: a Dirichlet prior).
        skew: exponent of zipf, 0 for uniform; shape of gamma, small for uneven shares.
        correlation: share of tokens, 0 to 1, whose experts in every layer follow their topic
            instead of the layer's overall popularity.
        topics: number of topics.
        drift_tokens: positions after which popularity has moved on by one expert; 0 for none.
    """

    kind: Literal["zipf", "gamma"] = "zipf"
    skew: float = 0.6
    correlation: float = 0.0
    topics: int = 8
    drift_tokens: int = 0

    def __post_init__(self) -> None:
        if self.kind not in {"zipf", "gamma"}:
            raise CimsimError("is not a kind of popularity", value=self.kind, allowed="zipf, gamma")
        least = 0.0 if self.kind == "zipf" else 1e-3
        if not (least <= self.skew <= 100) or not 0 <= self.correlation <= 1:
            raise CimsimError(
                "skew or correlation of a synthetic routing is out of range",
                value=(self.skew, self.correlation),
                allowed=f"skew {least} to 100, correlation 0 to 1",
            )
        if self.topics < 1 or self.drift_tokens < 0:
            raise CimsimError("a synthetic routing needs at least one topic and drift >= 0")


def zipf_popularity(n_experts: int, skew: float, seed: int, layer: int) -> Float64:
    """Return shares r^-skew in a random order of experts, [experts], summing to 1."""
    shares = exp_of(-skew * log_of(np.arange(1, n_experts + 1)))
    bits = uniform_bits_at(n_experts, (layer, 0, 0), derive_key(seed, _PERMUTE))
    order = np.argsort(bits, kind="stable")
    result = np.empty(n_experts)
    result[order] = shares / shares.sum()
    return result


def gamma_popularity(n_experts: int, shape: float, seed: int, layer: int) -> Float64:
    """Return shares drawn from a gamma distribution, [experts], summing to 1.

    Drawn by inverting its distribution at addressed uniforms.
    """
    from scipy.stats import gamma  # noqa: PLC0415 - slow to import

    bits = uniform_bits_at(n_experts, (layer, 0, 0), derive_key(seed, _GAMMA))
    draws = gamma.ppf((bits + 0.5) / 2.0**32, shape)
    shares: Float64 = np.maximum(draws, 1e-12)
    normal: Float64 = shares / shares.sum()
    return normal


def synthetic_trace(
    program: Program, *, sequences: int, length: int, popularity: Popularity, seed: int
) -> RoutingTrace:
    """Route tokens by chance.

    Args:
        program: the decoder.
        sequences: number of sequences.
        length: tokens of each.
        popularity: how tokens choose.
        seed: of every random number.
    """
    n, k = program.n_experts, program.top_k
    layers = len(program.moe_layers)
    sequence = np.repeat(np.arange(sequences, dtype=np.int64), length)
    position = np.tile(np.arange(length, dtype=np.int64), sequences)
    topic = _topics(sequence, position, popularity, seed)
    experts = np.zeros((len(sequence), layers, k), dtype=np.int16)
    room = -(-n // CHUNK) * CHUNK
    for layer in range(layers):
        # Row 0 is the layer's own popularity, the others those of the topics.
        logits = log_of(
            np.stack([_shares(n, popularity, seed, layer, t) for t in _rows(popularity)])
        )
        k0, k1 = derive_key(seed, _ROUTE, layer)
        _route(
            logits, topic, sequence, position, popularity.drift_tokens, k0, k1,
            np.zeros(room, dtype=np.uint32), experts[:, layer],
        )  # fmt: skip
    return RoutingTrace(experts, sequence, position, n)


def _rows(popularity: Popularity) -> range:
    return range(popularity.topics + 1 if popularity.correlation > 0 else 1)


def _shares(n_experts: int, popularity: Popularity, seed: int, layer: int, topic: int) -> Float64:
    # A topic prefers experts of its own in every layer, which links the layers of a token.
    address = layer * 1024 + topic
    if popularity.kind == "zipf":
        return zipf_popularity(n_experts, popularity.skew, seed, address)
    return gamma_popularity(n_experts, popularity.skew, seed, address)


def _topics(
    sequence: NDArray[np.int64], position: NDArray[np.int64], popularity: Popularity, seed: int
) -> NDArray[np.int64]:
    """Return 0 for tokens that follow overall popularity, else 1 + their topic."""
    if popularity.correlation == 0:
        return np.zeros(len(sequence), dtype=np.int64)
    result = np.zeros(len(sequence), dtype=np.int64)
    key = derive_key(seed, _TOPIC)
    for s in np.unique(sequence).tolist():
        mine = np.flatnonzero(sequence == s)
        bits = uniform_bits_at(int(position[mine].max()) + 1, (s, 0, 0), key)[position[mine]]
        u = (bits + 0.5) / 2.0**32
        chosen = np.floor(u / popularity.correlation * popularity.topics).astype(np.int64) + 1
        result[mine] = np.where(u < popularity.correlation, chosen, 0)
    return result


@cached
@njit()
def _route(logits, topic, sequence, position, drift, k0, k1, bits, experts):  # type: ignore[no-untyped-def]
    n, k = logits.shape[1], experts.shape[1]
    score = np.empty(n)
    for t in range(len(topic)):
        fill_bits(bits, 0, sequence[t], position[t], 0, k0, k1)
        shift = position[t] // drift if drift > 0 else 0
        row = logits[topic[t]]
        for e in range(n):
            uniform = (np.float64(bits[e]) + 0.5) / 4294967296.0
            score[e] = row[(e + shift) % n] - log_number(-log_number(uniform))
        for j in range(k):
            best = 0
            for e in range(1, n):
                if score[e] > score[best]:
                    best = e
            experts[t, j] = best
            score[best] = -np.inf
