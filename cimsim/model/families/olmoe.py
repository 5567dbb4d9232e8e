"""OLMoE (Muennighoff et al., arXiv 2409.02060): norms on whole queries and keys."""

from __future__ import annotations

from cimsim.model.architecture import Architecture
from cimsim.model.config_reader import ConfigReader
from cimsim.model.families.family import Family, common_fields, mlp_tensors, routed_block

__all__ = ["OLMOE"]


def _read(config: ConfigReader) -> Architecture:
    fields = common_fields(config, norm_eps=1e-5)
    block = routed_block(
        config,
        experts="num_experts",
        width="intermediate_size",
        renormalise=config.flag("norm_topk_prob", default=False),
    )
    bias = config.flag("attention_bias", default=False)
    clip = None if config.get("clip_qkv") is None else config.number("clip_qkv")
    return Architecture(
        family="olmoe",
        qkv_bias=bias,
        o_bias=bias,
        qk_norm=True,
        clip_qkv=clip,
        blocks=(block,) * config.layers(),
        **fields,
    )


OLMOE = Family("olmoe", _read, mlp_tensors(shared=""))
