"""Qwen3-MoE (Qwen team, arXiv 2505.09388): norms of single heads, no shared expert."""

from __future__ import annotations

from collections.abc import Iterator

from cimsim.model.config_reader import ConfigReader
from cimsim.model.families.family import (
    Family,
    mlp_tensors,
    read_blocks,
    read_mixture,
    register_family,
)
from cimsim.model.families.qwen_layers import is_sparse, read_window
from cimsim.workload.operations import Operation


def _operations(config: ConfigReader) -> Iterator[Operation]:
    blocks = read_blocks(config, norm_eps=1e-6, head_dim=128, window=read_window(config))
    bias = config.flag("attention_bias", default=False)
    layers = config.layers()
    yield blocks.embed()
    for layer in range(layers):
        yield from blocks.attention(
            layer, qkv_bias=bias, o_bias=bias, qk_norm=True, norm_by_head=True
        )
        if is_sparse(config, layer):
            yield from blocks.mixture(
                layer, read_mixture(config, experts="num_experts", width="moe_intermediate_size")
            )
        else:
            yield from blocks.dense(layer, config.integer("intermediate_size"))
    yield from blocks.head(layers)


register_family(Family("qwen3_moe", _operations, mlp_tensors(shared="")))
