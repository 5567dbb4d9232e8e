"""DeepSeek-MoE (Dai et al., arXiv 2401.06066), in the layout of deepseek-moe-16b-base.

Shared experts that every token visits, side by side as one wide block; the first layers
dense; softmax over all routed experts before the choice.
"""

from __future__ import annotations

from dataclasses import replace

from cimsim.model.architecture import Architecture, Block
from cimsim.model.config_reader import ConfigReader
from cimsim.model.families.family import Family, common_fields, mlp_tensors, routed_block

__all__ = ["DEEPSEEK"]


def _read(config: ConfigReader) -> Architecture:
    config.only("scoring_func", allowed=("softmax",))
    config.only("topk_method", allowed=("greedy",))
    for key in ("n_group", "topk_group"):
        config.only(key, allowed=(1,))
    for key in ("q_lora_rank", "kv_lora_rank"):
        config.only(key)
    fields = common_fields(config, norm_eps=1e-6)
    renormalise = config.flag("norm_topk_prob", default=False)
    scale = config.number("routed_scaling_factor", 1.0)
    if renormalise and scale != 1.0:
        # Public implementations disagree on whether renormalised gates are scaled too.
        raise config.error("routed_scaling_factor", "not implemented with norm_topk_prob", "1.0")
    n_layers = config.layers()
    first = config.integer("first_k_dense_replace", 0, least=0)
    every = config.integer("moe_layer_freq", 1)
    sparse = [i >= first and i % every == 0 for i in range(n_layers)]
    moe = dense = Block()
    if any(sparse):
        routed = routed_block(
            config,
            experts="n_routed_experts",
            width="moe_intermediate_size",
            renormalise=renormalise,
        )
        shared = config.integer("n_shared_experts", 0, least=0) * routed.expert_width
        moe = replace(routed, shared_width=shared, gate_scale=scale)
    if not all(sparse):
        dense = Block(shared_width=config.integer("intermediate_size"))
    bias = config.flag("attention_bias", default=False)
    return Architecture(
        family="deepseek",
        qkv_bias=bias,
        o_bias=bias,
        qk_norm=False,
        clip_qkv=None,
        blocks=tuple(moe if s else dense for s in sparse),
        **fields,
    )


DEEPSEEK = Family("deepseek", _read, mlp_tensors(shared="shared_experts"))
