"""The architecture of a decoder: every number that shapes the forward pass, no weights."""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.workload.program import NO_EXPERT, Layer, Matrix, MatrixId, Program

__all__ = ["Architecture", "Block", "program_of"]


@dataclass(frozen=True)
class Block:
    """The feed-forward block of one layer.

    Attributes:
        n_experts: routed experts; 0 makes the block dense.
        top_k: experts chosen a token.
        expert_width: hidden width of a routed expert.
        shared_width: hidden width of all shared experts together, or of a dense block.
        shared_gate: whether a sigmoid gate scales the shared experts' output (Qwen-MoE).
        renormalise: whether the gates of the chosen experts are divided by their sum.
        gate_scale: factor on every gate (DeepSeek's routed_scaling_factor).
    """

    n_experts: int = 0
    top_k: int = 0
    expert_width: int = 0
    shared_width: int = 0
    shared_gate: bool = False
    renormalise: bool = False
    gate_scale: float = 1.0

    @property
    def is_moe(self) -> bool:
        """Whether a router selects experts."""
        return self.n_experts > 0


@dataclass(frozen=True)
class Architecture:
    """Shape and constants of a decoder.

    Attributes:
        family: olmoe, qwen2_moe, deepseek or mixtral.
        d_model: width of the residual stream.
        n_heads: query heads.
        n_kv_heads: key and value heads.
        head_dim: width of a head.
        vocab_size: rows of the embedding.
        max_positions: longest sequence that the model was made for.
        norm_eps: epsilon of every RMSNorm.
        rope_theta: base of the rotary frequencies.
        tied_head: whether the head is the transposed embedding.
        qkv_bias: bias on the query, key and value projections.
        o_bias: bias on the output projection.
        qk_norm: RMSNorm over the whole query and key vectors (OLMoE).
        clip_qkv: bound on the magnitude of queries, keys and values, or None.
        blocks: the feed-forward block of each layer.
    """

    family: str
    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    max_positions: int
    norm_eps: float
    rope_theta: float
    tied_head: bool
    qkv_bias: bool
    o_bias: bool
    qk_norm: bool
    clip_qkv: float | None
    blocks: tuple[Block, ...]

    @property
    def n_layers(self) -> int:
        """Number of decoder layers."""
        return len(self.blocks)

    @property
    def moe_layers(self) -> tuple[int, ...]:
        """Indices of the layers with routed experts."""
        return tuple(i for i, block in enumerate(self.blocks) if block.is_moe)


def _swiglu(layer: int, prefix: str, d_model: int, width: int, expert: int) -> tuple[Matrix, ...]:
    return (
        Matrix(MatrixId(layer, f"{prefix}gate", expert), d_model, width),
        Matrix(MatrixId(layer, f"{prefix}up", expert), d_model, width),
        Matrix(MatrixId(layer, f"{prefix}down", expert), width, d_model),
    )


def _layer(architecture: Architecture, index: int) -> Layer:
    block, d = architecture.blocks[index], architecture.d_model
    d_attention = architecture.n_heads * architecture.head_dim
    d_kv = architecture.n_kv_heads * architecture.head_dim
    router: tuple[Matrix, ...] = ()
    if block.is_moe:
        router = (Matrix(MatrixId(index, "router"), d, block.n_experts),)
    if block.shared_gate:
        router = (*router, Matrix(MatrixId(index, "shared_router"), d, 1))
    shared: tuple[Matrix, ...] = ()
    if block.shared_width:
        prefix = "shared_" if block.is_moe else "dense_"
        shared = _swiglu(index, prefix, d, block.shared_width, NO_EXPERT)
    return Layer(
        index=index,
        attention=(
            Matrix(MatrixId(index, "q"), d, d_attention),
            Matrix(MatrixId(index, "k"), d, d_kv),
            Matrix(MatrixId(index, "v"), d, d_kv),
            Matrix(MatrixId(index, "o"), d_attention, d),
        ),
        router=router,
        experts=tuple(_swiglu(index, "", d, block.expert_width, e) for e in range(block.n_experts)),
        shared=shared,
        top_k=block.top_k,
    )


def program_of(architecture: Architecture, name: str) -> Program:
    """Return the operations and shapes of an architecture under a model's name."""
    d = architecture.d_model
    head = Matrix(MatrixId(architecture.n_layers, "head"), d, architecture.vocab_size)
    return Program(
        name=name,
        family=architecture.family,
        d_model=d,
        n_heads=architecture.n_heads,
        n_kv_heads=architecture.n_kv_heads,
        head_dim=architecture.head_dim,
        vocab_size=architecture.vocab_size,
        layers=tuple(_layer(architecture, i) for i in range(architecture.n_layers)),
        head=head,
    )
