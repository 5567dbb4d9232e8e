"""OLMoE (Muennighoff et al., arXiv 2409.02060): norms on whole queries and keys."""

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
from cimsim.workload.operations import Operation


def _operations(config: ConfigReader) -> Iterator[Operation]:
    blocks = read_blocks(config, norm_eps=1e-5)
    mixture = read_mixture(config, experts="num_experts", width="intermediate_size")
    bias = config.flag("attention_bias", default=False)
    clip = None if config.get("clip_qkv") is None else config.number("clip_qkv")
    layers = config.layers()
    yield blocks.embed()
    for layer in range(layers):
        yield from blocks.attention(layer, qkv_bias=bias, o_bias=bias, qk_norm=True, clip=clip)
        yield from blocks.mixture(layer, mixture)
    yield from blocks.head(layers)


register_family(Family("olmoe", _operations, mlp_tensors(shared="")))
