"""Blocks of operations that decoders share: the Llama-style residual stream.

A block opens with a norm of the residual stream and ends with its output joining it again. Both
checkpoints (`cimsim.model.families`) and models known by their shapes alone
(`cimsim.workload.shapes`) are listed in these.
"""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.workload.choice import GroupedChoice
from cimsim.workload.heads import Heads
from cimsim.workload.latent import Compress, ProjectByHead, RotateLatent, SplitQueries
from cimsim.workload.matrix import NO_EXPERT, Matrix, MatrixId
from cimsim.workload.operations import (
    Attend,
    Combine,
    Embed,
    Experts,
    Head,
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
        choice: among groups of experts, or None.
    """

    n_experts: int
    top_k: int
    expert_width: int
    shared_width: int = 0
    shared_gate: bool = False
    renormalise: bool = False
    gate_scale: float = 1.0
    choice: GroupedChoice | None = None


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
        norm_by_head: bool = False,
    ) -> Operations:
        """Return an attention block.

        Args:
            layer: decoder layer.
            qkv_bias: bias on the query, key and value projections.
            o_bias: bias on the output projection.
            qk_norm: RMSNorm of queries and keys: of all heads together (OLMoE).
            clip: bound on the magnitude of queries, keys and values, or None.
            norm_by_head: whether that norm is of each head (Qwen3).
        """
        d, heads = self.d_model, self.heads
        widths = {"q": heads.d_attention, "k": heads.d_kv, "v": heads.d_kv}
        qkv = tuple(Matrix(MatrixId(layer, role), d, n) for role, n in widths.items())
        output = Matrix(MatrixId(layer, "o"), heads.d_attention, d)
        return (
            Norm(layer, "attention", d, self.norm_eps),
            Project(layer, qkv, qkv_bias),
            Rotate(layer, heads, self.norm_eps if qk_norm else None, clip, norm_by_head),
            Attend(layer, heads),
            Project(layer, (output,), o_bias),
            Combine(layer, d),
        )

    def latent_attention(
        self,
        layer: int,
        *,
        query_rank: int,
        plain_dim: int,
        value_dim: int,
        norm_eps: float,
        interleaved: bool,
    ) -> Operations:
        """Return a block of latent attention; the heads are those of the latent space.

        Args:
            layer: decoder layer.
            query_rank: width of the latent of queries, 0 for none.
            plain_dim: entries of a head's query that are not rotated.
            value_dim: width of a head's value.
            norm_eps: epsilon of the norms of latents.
            interleaved: which entries are rotated together, see `SplitQueries`.
        """
        d, heads = self.d_model, self.heads
        n, latent, rotated = heads.n_heads, heads.latent_dim, heads.rotated
        width = n * (plain_dim + rotated)

        def matrix(role: str, n_in: int, n_out: int, head: int = NO_EXPERT) -> Matrix:
            return Matrix(MatrixId(layer, role, head), n_in, n_out)

        query = matrix("q_a", d, query_rank) if query_rank else matrix("q", d, width)
        up = (Project(layer, (matrix("q_b", query_rank, width),)),) if query_rank else ()
        to_latent = tuple(matrix("k_b", plain_dim, latent, h) for h in range(n))
        from_latent = tuple(matrix("v_b", latent, value_dim, h) for h in range(n))
        return (
            Norm(layer, "attention", d, self.norm_eps),
            Project(layer, (query, matrix("kv_a", d, latent + rotated))),
            Compress(layer, heads, query_rank, norm_eps),
            *up,
            SplitQueries(layer, heads, plain_dim, interleaved),
            ProjectByHead(layer, to_latent),
            RotateLatent(layer, heads, interleaved),
            Attend(layer, heads),
            ProjectByHead(layer, from_latent),
            Project(layer, (matrix("o", n * value_dim, d),)),
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
            mixture.choice,
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
