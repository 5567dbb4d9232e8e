"""The program of a decoder: its operations and shapes, without weights.

The same program drives numbers (the model evaluates its matrices) and time (the engine
schedules its operations). A matrix product is named by `MatrixId`; a token by its
sequence and position, so that noise can be keyed by what is computed and not by when.

Matrices are in ``x @ W`` orientation: W is [n_in, n_out]; n_in sits on crossbar rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

NO_EXPERT = -1

AnalogPart = Literal["attention", "router", "experts", "shared", "head"]

# Which part of the model a matrix role belongs to: the choice of analog parts is made
# by part, never by single matrix.
PART_OF_ROLE: dict[str, AnalogPart] = {
    "q": "attention",
    "k": "attention",
    "v": "attention",
    "o": "attention",
    "router": "router",
    "shared_router": "router",
    "gate": "experts",
    "up": "experts",
    "down": "experts",
    "shared_gate": "shared",
    "shared_up": "shared",
    "shared_down": "shared",
    "dense_gate": "shared",
    "dense_up": "shared",
    "dense_down": "shared",
    "head": "head",
}


class MatrixId(NamedTuple):
    """Name of one weight matrix of a program.

    Attributes:
        layer: decoder layer, 0-based; the head has layer = number of layers.
        role: a key of `PART_OF_ROLE`.
        expert: routed expert, or -1 for a matrix that no router selects.
    """

    layer: int
    role: str
    expert: int = NO_EXPERT

    @property
    def part(self) -> AnalogPart:
        """The part of the model that this matrix belongs to."""
        return PART_OF_ROLE[self.role]

    def __str__(self) -> str:
        expert = "" if self.expert == NO_EXPERT else f".{self.expert}"
        return f"{self.layer}.{self.role}{expert}"


class TokenKeys(NamedTuple):
    """Global addresses of the rows of a batch of token activations.

    Attributes:
        sequence: int64 [n], which sequence (window) a row belongs to.
        position: int64 [n], position in that sequence.
    """

    sequence: NDArray[np.int64]
    position: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> TokenKeys:
        """Return the keys of some rows, [len(rows)]."""
        return TokenKeys(self.sequence[rows], self.position[rows])


@dataclass(frozen=True)
class Matrix:
    """Shape of one weight matrix: W is [n_in, n_out]."""

    id: MatrixId
    n_in: int
    n_out: int

    @property
    def size(self) -> int:
        """Number of weights, which is also the MACs of one vector."""
        return self.n_in * self.n_out


@dataclass(frozen=True)
class Layer:
    """One decoder layer: attention, then a dense or a mixture-of-experts block.

    Attributes:
        index: 0-based layer number.
        attention: q, k, v, o.
        router: the router and, for Qwen-MoE, the shared expert's gate; empty if dense.
        experts: per routed expert its gate, up and down matrices; empty if dense.
        shared: gate, up and down of the shared experts or of the dense block.
        top_k: experts chosen a token; 0 if dense.
    """

    index: int
    attention: tuple[Matrix, ...]
    router: tuple[Matrix, ...]
    experts: tuple[tuple[Matrix, ...], ...]
    shared: tuple[Matrix, ...]
    top_k: int

    @property
    def is_moe(self) -> bool:
        """Whether a router selects experts in this layer."""
        return bool(self.experts)

    def matrices(self) -> Iterator[Matrix]:
        """Yield every matrix of the layer in program order."""
        yield from self.attention
        yield from self.router
        for expert in self.experts:
            yield from expert
        yield from self.shared

    def active_macs(self) -> int:
        """Multiply-accumulates of one token in this layer's matrices (active experts)."""
        always = sum(m.size for m in (*self.attention, *self.router, *self.shared))
        routed = self.top_k * sum(m.size for m in self.experts[0]) if self.experts else 0
        return always + routed


@dataclass(frozen=True)
class Program:
    """Operations and shapes of a decoder.

    Attributes:
        name: the model's name.
        family: olmoe, qwen2_moe, deepseek or mixtral.
        d_model: width of the residual stream.
        n_heads: query heads.
        n_kv_heads: key and value heads.
        head_dim: width of a head.
        vocab_size: rows of the embedding.
        layers: the decoder layers in order.
        head: the output projection [d_model, vocab].
    """

    name: str
    family: str
    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    layers: tuple[Layer, ...]
    head: Matrix

    @property
    def d_attention(self) -> int:
        """Total width of the query heads."""
        return self.n_heads * self.head_dim

    @property
    def d_kv(self) -> int:
        """Total width of the key heads (the same as of the value heads)."""
        return self.n_kv_heads * self.head_dim

    @property
    def moe_layers(self) -> tuple[int, ...]:
        """Indices of the layers that have routed experts."""
        return tuple(layer.index for layer in self.layers if layer.is_moe)

    @property
    def n_experts(self) -> int:
        """Routed experts of an MoE layer (the most of any layer)."""
        return max((len(layer.experts) for layer in self.layers), default=0)

    @property
    def top_k(self) -> int:
        """Experts chosen a token in an MoE layer."""
        return max((layer.top_k for layer in self.layers), default=0)

    def matrices(self) -> Iterator[Matrix]:
        """Yield every matrix in program order, the head last."""
        for layer in self.layers:
            yield from layer.matrices()
        yield self.head

    def linear_macs_per_token(self) -> int:
        """MACs of one token in all matrices: active experts only, head included."""
        return sum(layer.active_macs() for layer in self.layers) + self.head.size

    def attention_macs_per_token(self, context: float) -> float:
        """MACs of scores and mixing for one token: 2 x context x d_attn a layer.

        Args:
            context: number of positions attended to, the token's own included.
        """
        return 2.0 * context * self.d_attention * len(self.layers)
