"""DeepSeek-V2 (arXiv 2405.04434) and V3 (arXiv 2412.19437): latent attention, grouped routing.

The first layers are dense, shared experts stand side by side as one wide block. V2 takes softmax
scores and ranks groups of experts by their best, V3 sigmoid scores with a bias for the choice and
the two best of a group; layers beyond the last, which draft further tokens, are not read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from cimsim.model.config_reader import ConfigReader
from cimsim.model.families.family import (
    Family,
    mlp_tensors,
    read_blocks,
    read_mixture,
    register_family,
)
from cimsim.model.families.rope import yarn_growth
from cimsim.workload.blocks import Blocks, Mixture
from cimsim.workload.choice import GroupedChoice
from cimsim.workload.heads import Heads
from cimsim.workload.operations import Operation

LATENT_EPS = 1e-6  # of the norms of latents, whatever rms_norm_eps says


def _operations(
    config: ConfigReader, mixture: Mixture, *, first: int, interleaved: bool
) -> Iterator[Operation]:
    config.only("attention_bias", allowed=(False,))
    config.only("moe_layer_freq", allowed=(1,))
    blocks, plain = _blocks(config)
    queries = 0 if config.get("q_lora_rank") is None else config.integer("q_lora_rank")
    first, layers = config.integer("first_k_dense_replace", first, least=0), config.layers()
    yield blocks.embed()
    for layer in range(layers):
        yield from blocks.latent_attention(
            layer,
            query_rank=queries,
            plain_dim=plain,
            value_dim=config.integer("v_head_dim", 128),
            norm_eps=LATENT_EPS,
            interleaved=interleaved,
        )
        if layer < first:
            yield from blocks.dense(layer, config.integer("intermediate_size"))
        else:
            yield from blocks.mixture(layer, mixture)
    yield from blocks.head(layers)


def _blocks(config: ConfigReader) -> tuple[Blocks, int]:
    """Return the blocks, with heads in the latent space, and the width that is not rotated."""
    rotated = config.integer("qk_rope_head_dim", 64)
    plain = config.integer("qk_nope_head_dim", 128)
    if rotated % 2:
        raise config.error("qk_rope_head_dim", "rotary positions need an even width")
    blocks = read_blocks(config, norm_eps=1e-6, head_dim=rotated)
    heads, latent = blocks.heads, config.integer("kv_lora_rank", 512)
    if heads.n_kv_heads != heads.n_heads:
        raise config.error("num_key_value_heads", "must be num_attention_heads")
    scale = 1.0 / math.sqrt(plain + rotated)
    parameters = ConfigReader(
        config.path, config.get("rope_parameters") or config.get("rope_scaling", {})
    )
    if heads.scaling is not None and parameters.get("mscale_all_dim"):
        scale *= yarn_growth(heads.scaling.factor, parameters.number("mscale_all_dim")) ** 2
    absorbed = Heads(
        heads.n_heads, 1, latent + rotated, heads.theta, heads.positions, heads.scaling,
        rotary_dim=rotated, latent_dim=latent, score_scale=scale,
    )  # fmt: skip
    return replace(blocks, heads=absorbed), plain


def _mixture(config: ConfigReader, *, renormalise: bool, scale: float) -> Mixture:
    routed = read_mixture(
        config,
        experts="n_routed_experts",
        width="moe_intermediate_size",
        renormalise=renormalise,
    )
    shared = config.integer("n_shared_experts", 0, least=0) * routed.expert_width
    scale = config.number("routed_scaling_factor", scale)
    return replace(routed, shared_width=shared, gate_scale=scale)


def _groups(config: ConfigReader, mixture: Mixture, least: int) -> tuple[int, int]:
    """Return the number of groups of experts, and of those that experts are chosen from."""
    groups = config.integer("n_group", 1)
    chosen = config.integer("topk_group", groups)
    if mixture.n_experts % groups or mixture.n_experts // groups < least:
        raise config.error("n_group", f"must cut n_routed_experts into groups of at least {least}")
    if chosen > groups:
        raise config.error("topk_group", "exceeds n_group", f"1 to {groups}")
    if chosen * (mixture.n_experts // groups) < mixture.top_k:
        raise config.error("topk_group", "groups have fewer experts than num_experts_per_tok")
    return groups, chosen


def _second(config: ConfigReader) -> Iterator[Operation]:
    config.only("scoring_func", allowed=("softmax",))
    config.only("topk_method", allowed=("greedy", "group_limited_greedy"))
    # Public implementations disagree on what it does here.
    config.only("norm_topk_prob", allowed=(False,))
    mixture = _mixture(config, renormalise=False, scale=1.0)
    if config.get("topk_method") == "group_limited_greedy":
        groups, chosen = _groups(config, mixture, 1)
        mixture = replace(
            mixture, choice=GroupedChoice("softmax", groups, chosen, "best", biased=False)
        )
    yield from _operations(config, mixture, first=0, interleaved=True)


def _third(config: ConfigReader) -> Iterator[Operation]:
    config.only("scoring_func", allowed=("sigmoid",))
    config.only("topk_method", allowed=("noaux_tc",))
    renormalise = config.flag("norm_topk_prob", default=True)
    mixture = _mixture(config, renormalise=renormalise, scale=2.5)
    groups, chosen = _groups(config, mixture, 2)
    choice = GroupedChoice("sigmoid", groups, chosen, "best_two", biased=True)
    interleaved = config.flag("rope_interleave", default=True)
    yield from _operations(
        config, replace(mixture, choice=choice), first=3, interleaved=interleaved
    )


def _register(model_type: str, operations: Callable[[ConfigReader], Iterator[Operation]]) -> None:
    tensors = mlp_tensors(shared="shared_experts")
    tensors["router_bias"] = "mlp.gate.e_score_correction_bias"
    register_family(Family(model_type, operations, tensors, drafts=True))


_register("deepseek_v2", _second)
_register("deepseek_v3", _third)
