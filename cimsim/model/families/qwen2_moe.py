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
from cimsim.workload.operations import Operation


def _operations(config: ConfigReader) -> Iterator[Operation]:
    config.only("use_sliding_window", allowed=(False,))
    config.only("attention_bias", allowed=(False,))
    kinds = config.get("layer_types", [])
    if not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds):
        raise config.error("layer_types", "this feature is not implemented", "full_attention")
    blocks = read_blocks(config, norm_eps=1e-6)
    bias = config.flag("qkv_bias", default=True)
    layers = config.layers()
    step = config.integer("decoder_sparse_step", 1)
    dense = config.indices("mlp_only_layers")
    yield blocks.embed()
    for layer in range(layers):
        yield from blocks.attention(layer, qkv_bias=bias)
        if layer in dense or (layer + 1) % step:
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
