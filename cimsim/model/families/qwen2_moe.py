"""Qwen-MoE (qwen2_moe, Qwen1.5-MoE): a shared expert behind a sigmoid gate, biased q, k, v."""

from __future__ import annotations

from dataclasses import replace

from cimsim.model.architecture import Architecture, Block
from cimsim.model.config_reader import ConfigReader
from cimsim.model.families.family import Family, common_fields, mlp_tensors, routed_block

__all__ = ["QWEN2_MOE"]


def _read(config: ConfigReader) -> Architecture:
    config.only("use_sliding_window", allowed=(False,))
    config.only("attention_bias", allowed=(False,))
    kinds = config.get("layer_types", [])
    if any(kind != "full_attention" for kind in kinds):
        raise config.error("layer_types", "this feature is not implemented", "full_attention")
    fields = common_fields(config, norm_eps=1e-6)
    n_layers = config.layers()
    step = config.integer("decoder_sparse_step", 1)
    dense = config.indices("mlp_only_layers")
    sparse = [i not in dense and (i + 1) % step == 0 for i in range(n_layers)]
    moe = dense_block = Block()
    if any(sparse):
        routed = routed_block(
            config,
            experts="num_experts",
            width="moe_intermediate_size",
            renormalise=config.flag("norm_topk_prob", default=False),
        )
        width = config.integer("shared_expert_intermediate_size")
        moe = replace(routed, shared_width=width, shared_gate=True)
    if not all(sparse):
        dense_block = Block(shared_width=config.integer("intermediate_size"))
    return Architecture(
        family="qwen2_moe",
        qkv_bias=config.flag("qkv_bias", default=True),
        o_bias=False,
        qk_norm=False,
        clip_qkv=None,
        blocks=tuple(moe if s else dense_block for s in sparse),
        **fields,
    )


QWEN2_MOE = Family(
    "qwen2_moe",
    _read,
    mlp_tensors(shared="shared_expert") | {"shared_router": "mlp.shared_expert_gate.weight"},
)
