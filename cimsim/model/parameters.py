"""The digital parameters of a decoder: embedding, norms, biases, rotary tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cimsim.model.architecture import Architecture
from cimsim.model.checkpoint import FINAL_NORM, Checkpoint
from cimsim.model.kernels.attention import rotary_tables

__all__ = ["LayerParameters", "Parameters", "read_parameters"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class LayerParameters:
    """Digital parameters of one layer.

    Attributes:
        attention_norm: float32 [d_model], gain before attention.
        block_norm: float32 [d_model], gain before the feed-forward block.
        q_norm: float32 [d_attention], gain on whole queries, or None.
        k_norm: float32 [d_kv], gain on whole keys, or None.
        bias: role (q, k, v, o) to float32 [n_out].
    """

    attention_norm: Array
    block_norm: Array
    q_norm: Array | None
    k_norm: Array | None
    bias: Mapping[str, Array]


@dataclass(frozen=True)
class Parameters:
    """Digital parameters of a decoder.

    Attributes:
        architecture: its shape.
        embedding: float32 [vocab, d_model].
        layers: per layer.
        final_norm: float32 [d_model].
        cos: float32 [positions, head_dim / 2].
        sin: float32 [positions, head_dim / 2].
    """

    architecture: Architecture
    embedding: Array
    layers: tuple[LayerParameters, ...]
    final_norm: Array
    cos: Array
    sin: Array

    def with_norm_gain(self, gain: Mapping[tuple[int, str], Array]) -> Parameters:
        """Return the parameters with gains multiplied onto norms.

        Args:
            gain: (layer, "attention" or "block") or (number of layers, "final") to
                float32 [d_model].
        """
        if not gain:
            return self
        layers = list(self.layers)
        for (layer, norm), factor in gain.items():
            if norm == "attention":
                layers[layer] = replace(
                    layers[layer], attention_norm=layers[layer].attention_norm * factor
                )
            elif norm == "block":
                layers[layer] = replace(layers[layer], block_norm=layers[layer].block_norm * factor)
        final = gain.get((len(layers), "final"))
        final_norm = self.final_norm if final is None else self.final_norm * final
        return replace(self, layers=tuple(layers), final_norm=final_norm)


def read_parameters(checkpoint: Checkpoint) -> Parameters:
    """Return the digital parameters of a checkpoint."""
    shape = checkpoint.architecture
    cos, sin = rotary_tables(shape.max_positions, shape.head_dim, shape.rope_theta)
    return Parameters(
        architecture=shape,
        embedding=checkpoint.embedding,
        layers=tuple(_read_layer(checkpoint, i) for i in range(shape.n_layers)),
        final_norm=checkpoint.vector(FINAL_NORM),
        cos=cos,
        sin=sin,
    )


def _read_layer(checkpoint: Checkpoint, index: int) -> LayerParameters:
    shape = checkpoint.architecture
    base = f"model.layers.{index}"
    biased = ("qkv" if shape.qkv_bias else "") + ("o" if shape.o_bias else "")
    attention = f"{base}.self_attn"
    return LayerParameters(
        attention_norm=checkpoint.vector(f"{base}.input_layernorm.weight"),
        block_norm=checkpoint.vector(f"{base}.post_attention_layernorm.weight"),
        q_norm=checkpoint.vector(f"{attention}.q_norm.weight") if shape.qk_norm else None,
        k_norm=checkpoint.vector(f"{attention}.k_norm.weight") if shape.qk_norm else None,
        bias={role: checkpoint.vector(f"{attention}.{role}_proj.bias") for role in biased},
    )
