"""The program of a model: its operations in order, with shapes and constants, no weights.

A decoder begins with `Embed` and ends with `Head`; another network has products instead.

The one list drives numbers (`cimsim.model.interpreter` executes it), time and energy
(`cimsim.engine.steps` schedules it) and what is placed on crossbars (`cimsim.chip.units`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from cimsim.workload.heads import Heads
from cimsim.workload.matrix import Matrix
from cimsim.workload.operations import (
    Attend,
    Embed,
    Experts,
    Head,
    Multiply,
    Operation,
    Project,
    Route,
)

__all__ = ["NO_HEADS", "Layer", "Program"]

Kind = TypeVar("Kind", bound=Operation)
NO_HEADS = Heads(0, 0, 0)
"""Of a model in which nothing attends."""
TOKEN_ID_BYTES = 4
"""Bytes of the number of a token, which is what enters a system."""


@dataclass(frozen=True)
class Layer:
    """One decoder layer: attention, then a dense or a mixture-of-experts block.

    Attributes:
        index: 0-based layer number.
        operations: in order.
    """

    index: int
    operations: tuple[Operation, ...]

    @cached_property
    def attention(self) -> tuple[Matrix, ...]:
        """The matrices q, k, v and o."""
        return tuple(m for o in self.operations if isinstance(o, Project) for m in o.matrices)

    @cached_property
    def router(self) -> tuple[Matrix, ...]:
        """The router and, for Qwen-MoE, the shared expert's gate; empty if dense."""
        return tuple(m for o in self.operations if isinstance(o, Route) for m in o.matrices)

    @property
    def experts(self) -> tuple[tuple[Matrix, ...], ...]:
        """Per routed expert its gate, up and down matrices; empty if dense."""
        return self._block.experts

    @property
    def shared(self) -> tuple[Matrix, ...]:
        """Gate, up and down of the shared experts or of the dense block; or a product's matrix."""
        return self._block.shared or self._products

    @property
    def top_k(self) -> int:
        """Experts chosen per token; 0 if dense."""
        return self._block.top_k

    @cached_property
    def _products(self) -> tuple[Matrix, ...]:
        return tuple(o.weight for o in self.operations if isinstance(o, Multiply))

    @cached_property
    def _block(self) -> Experts:
        found = (o for o in self.operations if isinstance(o, Experts))
        return next(found, Experts(self.index, (), (), 0))

    @property
    def is_moe(self) -> bool:
        """Whether a router selects experts in this layer."""
        return bool(self.experts)

    def matrices(self) -> Iterator[Matrix]:
        """Yield every matrix of the layer in program order."""
        for operation in self.operations:
            yield from operation.matrices

    def active_macs(self) -> int:
        """Multiply-accumulates of one token in this layer's matrices (active experts)."""
        return sum(o.macs for o in self.operations)


@dataclass(frozen=True)
class Program:
    """Operations of a model in order: of a decoder, from the embedding to the head.

    Attributes:
        name: the model's name.
        operations: in order.
    """

    name: str
    operations: tuple[Operation, ...]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in order; what follows the last of a decoder is not one."""
        last = self.operations[-1]
        count = last.layer if isinstance(last, Head) else last.layer + 1
        found: list[list[Operation]] = [[] for _ in range(count)]
        for operation in self.operations:
            if 0 <= operation.layer < len(found):
                found[operation.layer].append(operation)
        return tuple(Layer(i, tuple(operations)) for i, operations in enumerate(found))

    @property
    def head(self) -> Matrix:
        """The output projection [d_model, vocab]."""
        return self._first(Head).weight

    @property
    def tied_head(self) -> bool:
        """Whether the output projection is the transposed embedding."""
        return self._first(Head).tied

    @property
    def has_head(self) -> bool:
        """Whether it ends with logits over a vocabulary."""
        return isinstance(self.operations[-1], Head)

    @cached_property
    def d_model(self) -> int:
        """Width of the residual stream; 0 where the model has none."""
        return next((o.width for o in self.operations if isinstance(o, Embed)), 0)

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding."""
        return self._first(Embed).vocab_size

    @cached_property
    def heads(self) -> Heads:
        """Attention heads of a layer; none where nothing attends."""
        return next((o.heads for o in self.operations if isinstance(o, Attend)), NO_HEADS)

    @cached_property
    def attending(self) -> int:
        """Layers that attend."""
        return sum(isinstance(o, Attend) for o in self.operations)

    def inputs_bytes(self, bits: int) -> int:
        """Return the bytes that enter a system with a token: its number, or its features.

        Args:
            bits: of a feature.
        """
        first = next(o for o in self.operations if isinstance(o, Embed | Multiply))
        return -(-first.sent * bits // 8) if isinstance(first, Multiply) else TOKEN_ID_BYTES

    @cached_property
    def outputs(self) -> int:
        """Numbers that leave a system with a token: logits, or those of the last matrix."""
        last = next(o for o in reversed(self.operations) if o.matrices).matrices[-1]
        return last.vectors * last.n_out

    @property
    def n_heads(self) -> int:
        """Query heads."""
        return self.heads.n_heads

    @cached_property
    def moe_layers(self) -> tuple[int, ...]:
        """Indices of the layers that have routed experts."""
        return tuple(layer.index for layer in self.layers if layer.is_moe)

    @property
    def n_experts(self) -> int:
        """Routed experts of an MoE layer (the most of any layer)."""
        return max((len(layer.experts) for layer in self.layers), default=0)

    @property
    def top_k(self) -> int:
        """Experts chosen per token in an MoE layer."""
        return max((layer.top_k for layer in self.layers), default=0)

    def matrices(self) -> Iterator[Matrix]:
        """Yield every matrix in program order, the head last."""
        for operation in self.operations:
            yield from operation.matrices

    def linear_macs_per_token(self) -> int:
        """MACs of one token in all matrices: active experts only, head included."""
        return sum(o.macs for o in self.operations)

    def attention_macs_per_token(self, context: float) -> float:
        """MACs of scores and mixing for one token.

        Args:
            context: number of positions attended to, the token's own included.
        """
        return float(context * self.heads.macs_per_position * self.attending)

    def _first(self, kind: type[Kind]) -> Kind:
        return next(o for o in self.operations if isinstance(o, kind))
