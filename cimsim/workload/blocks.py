"""Blocks of operations that decoders share: the Llama-style residual stream.

A block opens with a norm of the residual stream and ends with its output joining it again. Both
checkpoints (`cimsim.model.families`) and models known by their shapes alone
(`cimsim.workload.shapes`) are listed in these.
"""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.workload.matrix import NO_EXPERT, Matrix, MatrixId
from cimsim.workload.operations import (
    Attend,
    Combine,
    Embed,
    Experts,
    Head,
    Heads,
    Norm,
    Operation,
    Project,
    Rotate,
    Route,
)

__all__ = ["Blocks", "Mixture"]

Operations = tuple[Operation, ...]


@dataclass(frozen=True)
class Mixture:
    """The feed-forward block of a mixture-of-experts layer.

    Attributes:
        n_experts: routed experts.
        top_k: experts chosen per token.
        expert_width: hidden width of a routed expert.
        shared_width: hidden width of all shared experts together, 0 for none.
        shared_gate: whether a sigmoid gate scales the shared experts' output (Qwen-MoE).
        renormalise: whether the gates of the chosen experts are divided by their sum.
        gate_scale: factor on every gate (DeepSeek's routed_scaling_factor).
    """

    n_experts: int
    top_k: int
    expert_width: int
    shared_width: int = 0
    shared_gate: bool = False
    renormalise: bool = False
    gate_scale: float = 1.0


@dataclass(frozen=True)
class Blocks:
    """Blocks on one residual stream.

    Attributes:
        vocab_size: rows of the embedding.
        d_model: width of the residual stream.
        heads: attention heads of every layer.
        norm_eps: epsilon of every RMSNorm; time and energy do not depend on it.
        tied_head: whether the head is the transposed embedding.
    """

    vocab_size: int
    d_model: int
    heads: Heads
    norm_eps: float = 1e-6
    tied_head: bool = False

    def embed(self) -> Operation:
        """Return how the residual stream begins."""
        return Embed(-1, self.vocab_size, self.d_model)

    def attention(
        self,
        layer: int,
        *,
        qkv_bias: bool = False,
        o_bias: bool = False,
        qk_norm: bool = False,
        clip: float | None = None,
    ) -> Operations:
        """Return an attention block.

        Args:
            layer: decoder layer.
            qkv_bias: bias on the query, key and value projections.
            o_bias: bias on the output projection.
            qk_norm: RMSNorm over whole queries and keys (OLMoE).
            clip: bound on the magnitude of queries, keys and values, or None.
        """
        d, heads = self.d_model, self.heads
        widths = {"q": heads.d_attention, "k": heads.d_kv, "v": heads.d_kv}
        qkv = tuple(Matrix(MatrixId(layer, role), d, n) for role, n in widths.items())
        output = Matrix(MatrixId(layer, "o"), heads.d_attention, d)
        return (
            Norm(layer, "attention", d, self.norm_eps),
            Project(layer, qkv, qkv_bias),
            Rotate(layer, heads, self.norm_eps if qk_norm else None, clip),
            Attend(layer, heads),
            Project(layer, (output,), o_bias),
            Combine(layer, d),
        )

    def dense(self, layer: int, width: int) -> Operations:
        """Return a dense block of some hidden width."""
        shared = self._gated(layer, "dense_", width)
        return self._feed_forward(layer, Experts(layer, (), shared, 0))

    def mixture(self, layer: int, mixture: Mixture) -> Operations:
        """Return a mixture-of-experts block."""
        d, n = self.d_model, mixture.n_experts
        gate = Matrix(MatrixId(layer, "shared_router"), d, 1) if mixture.shared_gate else None
        width = mixture.shared_width
        experts = Experts(
            layer,
            tuple(self._gated(layer, "", mixture.expert_width, e) for e in range(n)),
            self._gated(layer, "shared_", width) if width else (),
            mixture.top_k,
        )
        route = Route(
            layer,
            Matrix(MatrixId(layer, "router"), d, n),
            gate,
            mixture.top_k,
            mixture.renormalise,
            mixture.gate_scale,
        )
        return self._feed_forward(layer, route, experts)

    def head(self, layers: int) -> Operations:
        """Return what follows the last of some layers."""
        weight = Matrix(MatrixId(layers, "head"), self.d_model, self.vocab_size)
        return (
            Norm(layers, "final", self.d_model, self.norm_eps),
            Head(layers, weight, self.tied_head),
        )

    def _feed_forward(self, layer: int, *operations: Operation) -> Operations:
        norm = Norm(layer, "block", self.d_model, self.norm_eps)
        return (norm, *operations, Combine(layer, self.d_model))

    def _gated(
        self, layer: int, prefix: str, width: int, expert: int = NO_EXPERT
    ) -> tuple[Matrix, ...]:
        """Return the matrices of down(silu(gate(x)) * up(x))."""
        d = self.d_model
        shapes = {"gate": (d, width), "up": (d, width), "down": (width, d)}
        return tuple(
            Matrix(MatrixId(layer, f"{prefix}{role}", expert), *shape)
            for role, shape in shapes.items()
        )
