"""The operations of a decoder, with their shapes and constants.

An operation says what it takes per token: matrices (each digital or on crossbars), elementwise
digital operations, stored digital parameters. A family lists its operations in order
(`cimsim.model.families`), most of them through the blocks of `cimsim.workload.blocks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cimsim.workload.choice import GroupedChoice
from cimsim.workload.heads import Heads
from cimsim.workload.matrix import Matrix

__all__ = [
    "Attend",
    "Combine",
    "Elements",
    "Embed",
    "Experts",
    "Head",
    "Multiply",
    "Norm",
    "Operation",
    "Project",
    "Rotate",
    "Route",
]


@dataclass(frozen=True)
class Operation:
    """One operation of a program.

    Attributes:
        layer: decoder layer, 0-based; -1 before the first, the number of layers after the last.
    """

    layer: int

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """Weight matrices, those of all routed experts included."""
        return ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one token in matrices: active experts only."""
        return sum(m.macs for m in self.matrices)

    @property
    def elements(self) -> Mapping[str, int]:
        """Elementwise digital operations of one token by use."""
        return {}

    @property
    def parameters(self) -> Mapping[str, tuple[int, ...]]:
        """Stored shapes of the digital parameters by role; matrices are not among them."""
        return {}


@dataclass(frozen=True)
class Embed(Operation):
    """The residual stream begins: x = table[token]."""

    vocab_size: int
    width: int

    @property
    def elements(self) -> Mapping[str, int]:
        """One a feature."""
        return {"embedding": self.width}

    @property
    def parameters(self) -> Mapping[str, tuple[int, ...]]:
        """The table."""
        return {"embedding": (self.vocab_size, self.width)}


@dataclass(frozen=True)
class Norm(Operation):
    """The inputs of the products that follow: RMSNorm of the residual stream.

    Attributes:
        name: of the block that it opens: attention, block (feed-forward) or final.
        width: features.
        eps: added to the mean square.
    """

    name: str
    width: int
    eps: float

    @property
    def elements(self) -> Mapping[str, int]:
        """One a feature."""
        return {"norm": self.width}

    @property
    def parameters(self) -> Mapping[str, tuple[int, ...]]:
        """The gain."""
        return {f"{self.name}_norm": (self.width,)}


@dataclass(frozen=True)
class Project(Operation):
    """Products of the same inputs side by side, with biases: q, k and v; or o."""

    weights: tuple[Matrix, ...]
    bias: bool = False

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """The projections."""
        return self.weights

    @property
    def stage(self) -> str:
        """Name of the projections together: qkv or o."""
        return self.weights[0].id.stage

    @property
    def n_in(self) -> int:
        """Inputs of a token."""
        return self.weights[0].n_in

    @property
    def parameters(self) -> Mapping[str, tuple[int, ...]]:
        """A bias each, if there are any."""
        return {f"{m.id.role}_bias": (m.n_out,) for m in self.weights if self.bias}


@dataclass(frozen=True)
class Rotate(Operation):
    """Queries, keys and values are cut into heads; queries and keys are rotated.

    Attributes:
        heads: their number and width.
        norm_eps: epsilon of an RMSNorm of queries and keys before that, or None.
        clip: bound on the magnitude of queries, keys and values before that, or None.
        norm_by_head: whether that norm is of each head (Qwen3) and not of all together (OLMoE).
    """

    heads: Heads
    norm_eps: float | None = None
    clip: float | None = None
    norm_by_head: bool = False

    @property
    def elements(self) -> Mapping[str, int]:
        """One a feature of queries and keys."""
        return {"rope": self.heads.d_attention + self.heads.d_kv}

    @property
    def parameters(self) -> Mapping[str, tuple[int, ...]]:
        """Gains of the norms, if there are any."""
        heads = self.heads
        if self.norm_eps is None:
            return {}
        if self.norm_by_head:
            return {"q_norm": (heads.head_dim,), "k_norm": (heads.head_dim,)}
        return {"q_norm": (heads.d_attention,), "k_norm": (heads.d_kv,)}


@dataclass(frozen=True)
class Attend(Operation):
    """Causal softmax attention over the keys and values of the sequence so far."""

    heads: Heads


@dataclass(frozen=True)
class Combine(Operation):
    """The block's output joins the residual stream: x = x + output."""

    width: int

    @property
    def elements(self) -> Mapping[str, int]:
        """One a feature; the sum over experts is in the network."""
        return {"combine": self.width}


@dataclass(frozen=True)
class Route(Operation):
    """A router chooses the k experts of its largest logits; gates are their softmax.

    Attributes:
        router: from inputs to a logit per expert.
        shared_router: from inputs to the logit of a sigmoid gate on the shared experts
            (Qwen-MoE), or None.
        top_k: experts chosen per token.
        renormalise: whether the gates of the chosen experts are divided by their sum.
        gate_scale: factor on every gate (DeepSeek's routed_scaling_factor).
        choice: among groups, or None for the largest of all.
    """

    router: Matrix
    shared_router: Matrix | None
    top_k: int
    renormalise: bool = False
    gate_scale: float = 1.0
    choice: GroupedChoice | None = None

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """The router and, if there is one, the shared experts' gate."""
        return (self.router,) if self.shared_router is None else (self.router, self.shared_router)

    @property
    def elements(self) -> Mapping[str, int]:
        """One a logit, and one more where a bias is added."""
        biases = self.router.n_out if self._is_biased else 0
        return {"router": biases + sum(m.n_out for m in self.matrices)}

    @property
    def parameters(self) -> Mapping[str, tuple[int, ...]]:
        """The bias of the choice, if there is one."""
        return {"router_bias": (self.router.n_out,)} if self._is_biased else {}

    @property
    def _is_biased(self) -> bool:
        return self.choice is not None and self.choice.biased


@dataclass(frozen=True)
class Experts(Operation):
    """The feed-forward block: chosen experts and a shared or dense block, side by side.

    Each is down(silu(gate(x)) * up(x)); the output is their sum, weighted by the gates.

    Attributes:
        experts: per routed expert its gate, up and down matrices; empty if dense.
        shared: gate, up and down of the shared experts or of the dense block, or empty.
        top_k: experts chosen per token; 0 if dense.
    """

    experts: tuple[tuple[Matrix, ...], ...]
    shared: tuple[Matrix, ...]
    top_k: int

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """All routed experts', then the shared block's."""
        return (*(m for expert in self.experts for m in expert), *self.shared)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one token in matrices: active experts only."""
        routed = self.top_k * sum(m.size for m in self.experts[0]) if self.experts else 0
        return routed + sum(m.size for m in self.shared)

    @property
    def routed_width(self) -> int:
        """Hidden width of the experts that a token chose, together."""
        return self.top_k * self.experts[0][0].n_out if self.experts else 0

    @property
    def shared_width(self) -> int:
        """Hidden width of the shared experts or of the dense block."""
        return self.shared[0].n_out if self.shared else 0

    @property
    def elements(self) -> Mapping[str, int]:
        """One a hidden feature."""
        return {"activation": self.routed_width + self.shared_width}


@dataclass(frozen=True)
class Multiply(Operation):
    """A product of any network: a dense layer, the gates of an LSTM, a convolution.

    Attributes:
        weight: its matrix; `vectors` of them a token.
        sent: numbers that a token brings: the inputs of all vectors, or of a convolution the
            feature map, out of which the tile's buffer makes overlapping patches.
    """

    weight: Matrix
    sent: int

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """The matrix."""
        return (self.weight,)


@dataclass(frozen=True)
class Elements(Operation):
    """Elementwise digital operations that belong to no block.

    Attributes:
        use: a kind of elementwise operation that the digital units know.
        count: of a token.
    """

    use: str
    count: int

    @property
    def elements(self) -> Mapping[str, int]:
        """As many as stated."""
        return {self.use: self.count}


@dataclass(frozen=True)
class Head(Operation):
    """From the normed residual stream to logits over the vocabulary.

    Attributes:
        weight: the output projection [d_model, vocab].
        tied: whether it is the transposed embedding.
    """

    weight: Matrix
    tied: bool = False

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """The output projection."""
        return (self.weight,)
