"""Mixtral (Jiang et al., arXiv 2401.04088): few wide experts, gates always renormalised."""

from __future__ import annotations

from cimsim.model.architecture import Architecture
from cimsim.model.config_reader import ConfigReader
from cimsim.model.families.family import Family, common_fields, routed_block

__all__ = ["MIXTRAL"]


def _read(config: ConfigReader) -> Architecture:
    config.only("sliding_window")
    config.only("attention_bias", allowed=(False,))
    fields = common_fields(config, norm_eps=1e-5, rope_theta=1e6)
    block = routed_block(
        config, experts="num_local_experts", width="intermediate_size", renormalise=True
    )
    return Architecture(
        family="mixtral",
        qkv_bias=False,
        o_bias=False,
        qk_norm=False,
        clip_qkv=None,
        blocks=(block,) * config.layers(),
        **fields,
    )


MIXTRAL = Family(
    "mixtral",
    _read,
    {
        "router": "block_sparse_moe.gate.weight",
        "gate": "block_sparse_moe.experts.{expert}.w1.weight",
        "up": "block_sparse_moe.experts.{expert}.w3.weight",
        "down": "block_sparse_moe.experts.{expert}.w2.weight",
    },
)
