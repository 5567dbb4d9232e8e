"""The program of a decoder: its operations in order, with shapes and constants, no weights.

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
    Operation,
    Project,
    Route,
)

__all__ = ["Layer", "Program"]

Kind = TypeVar("Kind", bound=Operation)


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
        """Gate, up and down of the shared experts or of the dense block."""
        return self._block.shared

    @property
    def top_k(self) -> int:
        """Experts chosen per token; 0 if dense."""
        return self._block.top_k

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
    """Operations of a decoder, from the embedding to the head.

    Attributes:
        name: the model's name.
        operations: in order; the first is `Embed`, the last `Head`.
    """

    name: str
    operations: tuple[Operation, ...]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The decoder layers in order."""
        found: list[list[Operation]] = [[] for _ in range(self.operations[-1].layer)]
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
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self._first(Embed).width

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding."""
        return self._first(Embed).vocab_size

    @cached_property
    def heads(self) -> Heads:
        """Attention heads of a layer."""
        return self._first(Attend).heads

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
        return float(context * self.heads.macs_per_position * len(self.layers))

    def _first(self, kind: type[Kind]) -> Kind:
        return next(o for o in self.operations if isinstance(o, kind))
