"""DeepSeek-MoE (Dai et al., arXiv 2401.06066), in the layout of deepseek-moe-16b-base.

Shared experts that every token visits, side by side as one wide block; the first layers
dense; softmax over all routed experts before the choice.
"""

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
from cimsim.workload.blocks import Mixture
from cimsim.workload.operations import Operation


def _operations(config: ConfigReader) -> Iterator[Operation]:
    config.only("scoring_func", allowed=("softmax",))
    config.only("topk_method", allowed=("greedy",))
    for key in ("n_group", "topk_group"):
        config.only(key, allowed=(1,))
    for key in ("q_lora_rank", "kv_lora_rank"):
        config.only(key)
    blocks = read_blocks(config, norm_eps=1e-6)
    bias = config.flag("attention_bias", default=False)
    layers = config.layers()
    first = config.integer("first_k_dense_replace", 0, least=0)
    every = config.integer("moe_layer_freq", 1)
    yield blocks.embed()
    for layer in range(layers):
        yield from blocks.attention(layer, qkv_bias=bias, o_bias=bias)
        if layer >= first and layer % every == 0:
            yield from blocks.mixture(layer, _mixture(config))
        else:
            yield from blocks.dense(layer, config.integer("intermediate_size"))
    yield from blocks.head(layers)


def _mixture(config: ConfigReader) -> Mixture:
    routed = read_mixture(config, experts="n_routed_experts", width="moe_intermediate_size")
    scale = config.number("routed_scaling_factor", 1.0)
    if routed.renormalise and scale != 1.0:
        # Public implementations disagree on whether renormalised gates are scaled too.
        raise config.error("routed_scaling_factor", "not implemented with norm_topk_prob", "1.0")
    shared = config.integer("n_shared_experts", 0, least=0) * routed.expert_width
    return replace(routed, shared_width=shared, gate_scale=scale)


register_family(Family("deepseek", _operations, mlp_tensors(shared="shared_experts")))
