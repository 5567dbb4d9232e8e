"""Mixtral (Jiang et al., arXiv 2401.04088): few wide experts, gates always renormalised."""

from __future__ import annotations

from collections.abc import Iterator

from cimsim.model.config_reader import ConfigReader
from cimsim.model.families.family import Family, read_blocks, read_mixture, register_family
from cimsim.workload.operations import Operation


def _operations(config: ConfigReader) -> Iterator[Operation]:
    window = config.integer("sliding_window", 0, least=0)
    config.only("attention_bias", allowed=(False,))
    blocks = read_blocks(config, norm_eps=1e-5, rope_theta=1e6, window=window)
    mixture = read_mixture(
        config,
        experts="num_local_experts",
        width="intermediate_size",
        renormalise=True,
    )
    layers = config.layers()
    yield blocks.embed()
    for layer in range(layers):
        yield from blocks.attention(layer)
        yield from blocks.mixture(layer, mixture)
    yield from blocks.head(layers)


register_family(
    Family(
        "mixtral",
        _operations,
        {
            "router": "block_sparse_moe.gate.weight",
            "gate": "block_sparse_moe.experts.{expert}.w1.weight",
            "up": "block_sparse_moe.experts.{expert}.w3.weight",
            "down": "block_sparse_moe.experts.{expert}.w2.weight",
        },
    )
)
