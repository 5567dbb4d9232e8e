"""Shapes of published mixture-of-experts decoders: for time and energy, without weights.

Dimensions are those of the models' public `config.json` files. The attention of the
671B-class model is simplified: these shapes have the four matrices q, k, v and o. Checkpoints
with latent attention have it in full (`cimsim.workload.latent`).
"""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.errors import CimsimError, nearest
from cimsim.workload.blocks import Blocks, Mixture
from cimsim.workload.heads import Heads
from cimsim.workload.program import Program

__all__ = ["SHAPES", "DecoderShape", "build_shape", "shape_program"]


@dataclass(frozen=True)
class DecoderShape:
    """Dimensions of a decoder.

    Attributes:
        name: of the model.
        family: olmoe, qwen2_moe, deepseek or mixtral.
        layers: decoder layers.
        d_model: width of the residual stream.
        heads, kv_heads: query heads, key and value heads.
        head_dim: width of a head.
        vocabulary: tokens of the vocabulary.
        experts: routed experts per layer.
        top_k: experts chosen per token.
        expert_width: hidden width of a routed expert.
        shared_width: hidden width of the shared experts together, 0 for none.
        shared_gate: whether a sigmoid gate scales the shared expert.
        dense_layers: leading layers with one dense block.
        dense_width: hidden width of that block.
        source: where the numbers come from.
    """

    name: str
    family: str
    layers: int
    d_model: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    experts: int
    top_k: int
    expert_width: int
    shared_width: int = 0
    shared_gate: bool = False
    dense_layers: int = 0
    dense_width: int = 0
    source: str = ""


SHAPES: dict[str, DecoderShape] = {
    s.name: s
    for s in (
        DecoderShape(
            "olmoe-1b-7b", "olmoe", 16, 2048, 16, 16, 128, 50304, 64, 8, 1024,
            source="allenai/OLMoE-1B-7B-0924 config.json",
        ),
        DecoderShape(
            "qwen1.5-moe-a2.7b", "qwen2_moe", 24, 2048, 16, 16, 128, 151936, 60, 4, 1408,
            shared_width=5632, shared_gate=True,
            source="Qwen/Qwen1.5-MoE-A2.7B config.json",
        ),
        DecoderShape(
            "deepseek-moe-16b", "deepseek", 28, 2048, 16, 16, 128, 102400, 64, 6, 1408,
            shared_width=2816, dense_layers=1, dense_width=10944,
            source="deepseek-ai/deepseek-moe-16b-base config.json",
        ),
        DecoderShape(
            "mixtral-8x7b", "mixtral", 32, 4096, 32, 8, 128, 32000, 8, 2, 14336,
            source="mistralai/Mixtral-8x7B-v0.1 config.json",
        ),
        # Multi-head latent attention stated as grouped attention: two key heads make a cache
        # of 512 numbers per position where the model keeps 576, and q and o are full matrices.
        DecoderShape(
            "moe-671b", "deepseek", 61, 7168, 128, 2, 128, 129280, 256, 8, 2048,
            shared_width=2048, dense_layers=3, dense_width=18432,
            source="deepseek-ai/DeepSeek-V3 config.json, attention simplified",
        ),
    )
}  # fmt: skip
"""Bundled shapes by name."""


def shape_program(name: str) -> Program:
    """Return the program of a bundled shape.

    Raises:
        CimsimError: if there is no such shape.
    """
    if name not in SHAPES:
        raise CimsimError(
            "is not a known model shape",
            key="model",
            value=name,
            allowed=", ".join(SHAPES),
            hint=nearest(name, SHAPES),
        )
    return build_shape(SHAPES[name])


def build_shape(shape: DecoderShape) -> Program:
    """Return the program of a decoder of these dimensions."""
    blocks = Blocks(
        shape.vocabulary, shape.d_model, Heads(shape.heads, shape.kv_heads, shape.head_dim)
    )
    mixture = Mixture(
        shape.experts, shape.top_k, shape.expert_width, shape.shared_width, shape.shared_gate
    )
    operations = [blocks.embed()]
    for layer in range(shape.layers):
        operations += blocks.attention(layer)
        if layer < shape.dense_layers:
            operations += blocks.dense(layer, shape.dense_width)
        else:
            operations += blocks.mixture(layer, mixture)
    return Program(shape.name, (*operations, *blocks.head(shape.layers)))
