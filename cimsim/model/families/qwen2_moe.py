"""Qwen-MoE (qwen2_moe, Qwen1.5-MoE): a shared expert behind a sigmoid gate, biased q, k, v."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

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
    config.only("attention_bias", allowed=(False,))
    blocks = read_blocks(config, norm_eps=1e-6, window=read_window(config))
    bias = config.flag("qkv_bias", default=True)
    layers = config.layers()
    yield blocks.embed()
    for layer in range(layers):
        yield from blocks.attention(layer, qkv_bias=bias)
        if not is_sparse(config, layer):
            yield from blocks.dense(layer, config.integer("intermediate_size"))
            continue
        mixture = read_mixture(config, experts="num_experts", width="moe_intermediate_size")
        width = config.integer("shared_expert_intermediate_size")
        yield from blocks.mixture(layer, replace(mixture, shared_width=width, shared_gate=True))
    yield from blocks.head(layers)


register_family(
    Family(
        "qwen2_moe",
        _operations,
        mlp_tensors(shared="shared_expert") | {"shared_router": "mlp.shared_expert_gate.weight"},
    )
)
