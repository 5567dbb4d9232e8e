"""Configurations of the families: what they mean and which features are refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_builders import deepseek_config

from cimsim.errors import CimsimError
from cimsim.model.config_reader import ConfigReader
from cimsim.model.families import FAMILIES
from cimsim.model.rotary import frequencies
from cimsim.workload.operations import Project
from cimsim.workload.program import Program

OLMOE = {
    "model_type": "olmoe", "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "intermediate_size": 24, "num_experts": 8,
    "num_experts_per_tok": 2, "max_position_embeddings": 64,
}  # fmt: skip
QWEN = OLMOE | {
    "model_type": "qwen2_moe", "moe_intermediate_size": 20, "shared_expert_intermediate_size": 28,
}  # fmt: skip
MIXTRAL = OLMOE | {"model_type": "mixtral", "num_local_experts": 8}
LATENT = deepseek_config(
    kv_lora_rank=14, q_lora_rank=20, qk_rope_head_dim=8, qk_nope_head_dim=10, v_head_dim=6,
    num_key_value_heads=4, scoring_func=None, norm_topk_prob=None,
)  # fmt: skip
BASES: dict[str, dict[str, Any]] = {
    "olmoe": OLMOE,
    "qwen2_moe": QWEN,
    "mixtral": MIXTRAL,
    "deepseek": deepseek_config(),
    "qwen3_moe": OLMOE | {"model_type": "qwen3_moe", "moe_intermediate_size": 20},
    "deepseek_v2": LATENT | {"model_type": "deepseek_v2"},
    "deepseek_v3": LATENT | {"model_type": "deepseek_v3"},
}


def read(family: str, **changes: Any) -> Program:
    return program(family, BASES[family] | changes)


def program(family: str, values: dict[str, Any]) -> Program:
    reader = ConfigReader(Path("config.json"), values)
    return Program(family, tuple(FAMILIES[family].operations(reader)))


@pytest.mark.parametrize("family", BASES)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_act", "gelu"),
        ("rope_scaling", {"type": "longrope", "factor": 2.0}),
        ("rope_scaling", {"rope_type": "linear", "mrope_section": [1, 2]}),
        ("rope_scaling", "linear"),
        ("rope_scaling", {"rope_type": ["linear"]}),
        ("rope_parameters", {"rope_type": "linear", "factor": -1.0}),
        ("rope_parameters", {"rope_type": "default", "rope_theta": 1e4, "factor": 2.0}),
        ("rope_parameters", {"full_attention": {"rope_type": "default"}}),
        ("partial_rotary_factor", 0.5),
        ("quantization_config", {"bits": 4}),
        ("mlp_bias", True),
        ("num_hidden_layers", 0),
        ("num_hidden_layers", 2**40),
        ("hidden_size", "32"),
        ("hidden_size", True),
        ("rms_norm_eps", -1.0),
        ("rope_theta", float("nan")),
        ("tie_word_embeddings", 1),
        ("num_key_value_heads", 3),
        ("head_dim", 7),
        ("num_experts_per_tok", 100),
        ("vocab_size", None),
    ],
)
def test_what_no_family_implements_is_refused_by_key(family: str, key: str, value: Any) -> None:
    with pytest.raises(CimsimError) as caught:
        read(family, **{key: value})
    assert "config.json" in str(caught.value)
    assert key in str(caught.value)


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("mixtral", "sliding_window", -1),
        ("mixtral", "attention_bias", True),
        ("qwen2_moe", "use_sliding_window", 1),
        ("qwen3_moe", "layer_types", ["chunked_attention"]),
        ("qwen3_moe", "sliding_window", "4"),
        ("deepseek_v2", "topk_method", "noaux_tc"),
        ("deepseek_v2", "scoring_func", "sigmoid"),
        ("deepseek_v2", "norm_topk_prob", True),
        ("deepseek_v2", "moe_layer_freq", 2),
        ("deepseek_v2", "num_key_value_heads", 2),
        ("deepseek_v3", "n_group", 5),
        ("deepseek_v3", "n_group", 11),
        ("deepseek_v3", "topk_group", 2),
        ("deepseek_v3", "attention_bias", True),
        ("deepseek_v3", "qk_rope_head_dim", 7),
        ("deepseek_v3", "quantization_config", {"quant_method": "fp8"}),
        ("qwen2_moe", "attention_bias", True),
        ("qwen2_moe", "layer_types", 5),
        ("qwen2_moe", "mlp_only_layers", "0"),
        ("deepseek", "scoring_func", "sigmoid"),
        ("deepseek", "topk_method", "group_limited_greedy"),
        ("deepseek", "n_group", 4),
        ("deepseek", "q_lora_rank", 16),
        ("deepseek", "kv_lora_rank", 16),
        ("olmoe", "clip_qkv", 0),
    ],
)
def test_features_of_one_family_are_refused_by_key(family: str, key: str, value: Any) -> None:
    with pytest.raises(CimsimError, match=key):
        read(family, **{key: value})


def test_scaled_and_renormalised_deepseek_gates_are_refused() -> None:
    with pytest.raises(CimsimError, match="routed_scaling_factor"):
        read("deepseek", norm_topk_prob=True, routed_scaling_factor=2.0)


@pytest.mark.parametrize("family", BASES)
def test_both_spellings_of_the_rotary_base_are_read(family: str) -> None:
    silent = {k: v for k, v in BASES[family].items() if not k.startswith("rope")}
    new = silent | {"rope_parameters": {"rope_type": "default", "rope_theta": 77.0}}
    assert program(family, silent | {"rope_theta": 77.0}).heads.theta == 77.0
    assert program(family, new).heads.theta == 77.0
    default = 1e6 if family == "mixtral" else 1e4
    assert program(family, silent).heads.theta == default


def test_frequencies_stretched_linearly_turn_more_slowly_by_the_factor() -> None:
    plain = frequencies(read("olmoe").heads)
    linear = frequencies(read("olmoe", rope_scaling={"type": "linear", "factor": 4.0}).heads)
    np.testing.assert_array_equal(linear, plain / 4)
    dynamic = read("olmoe", rope_scaling={"type": "dynamic", "factor": 4.0}).heads
    np.testing.assert_array_equal(frequencies(dynamic), plain)


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        ("mixtral", {"sliding_window": 40}),
        ("qwen3_moe", {"sliding_window": 40, "use_sliding_window": True}),
        ("qwen2_moe", {"sliding_window": 40, "layer_types": ["sliding_attention"] * 2}),
    ],
)
def test_a_context_beyond_a_sliding_window_is_out_of_reach(
    family: str, keys: dict[str, Any]
) -> None:
    assert read(family).heads.context == 64
    assert read(family, **keys).heads.context == 40
    assert read("qwen3_moe", sliding_window=40).heads.context == 64


def test_latent_attention_counts_its_projections_and_one_latent_a_position() -> None:
    shape = read("deepseek_v3", n_group=1, topk_group=1)
    down = 48 * 20 + 48 * (14 + 8)
    up = 20 * 4 * (10 + 8) + 4 * (10 * 14 + 14 * 6)
    layer = shape.layers[0]
    assert sum(m.size for m in layer.attention) == down + up + 4 * 6 * 48
    assert shape.heads.position_bytes(16) == 2 * (14 + 8)
    assert shape.heads.macs_per_position == 4 * (14 + 8 + 14)
    assert [o.stage for o in layer.operations if isinstance(o, Project)] == [
        "qkv", "q_b", "k_b", "v_b", "o",
    ]  # fmt: skip


def test_deepseek_layers_are_dense_first_and_then_at_the_stated_frequency() -> None:
    shape = read("deepseek", num_hidden_layers=6, first_k_dense_replace=1, moe_layer_freq=2)
    assert shape.moe_layers == (2, 4)
    assert shape.layers[0].shared[0].n_out == 52
    assert shape.layers[2].shared[0].n_out == 2 * 20


def test_qwen_layers_are_sparse_at_the_stated_step_unless_listed() -> None:
    shape = read("qwen2_moe", num_hidden_layers=6, decoder_sparse_step=2, mlp_only_layers=[3])
    assert shape.moe_layers == (1, 5)
    assert shape.layers[3].shared[0].n_out == 24
    assert [m.id.role for m in shape.layers[1].router] == ["router", "shared_router"]


def test_a_deepseek_without_shared_experts_has_none() -> None:
    assert not read("deepseek", n_shared_experts=None).layers[1].shared


def test_mixtral_names_its_matrices_w1_w3_w2() -> None:
    names = [FAMILIES["mixtral"].tensor(3, role, 5) for role in ("gate", "up", "down")]
    base = "model.layers.3.block_sparse_moe.experts.5"
    assert names == [f"{base}.w1.weight", f"{base}.w3.weight", f"{base}.w2.weight"]


@pytest.mark.parametrize("near", ["mixtrall", "deepseek_v4", "qwen3"])
def test_an_unknown_family_is_refused_with_all_names_and_no_guess(
    near: str, tmp_path: Path
) -> None:
    from cimsim.model import load_checkpoint

    (tmp_path / "config.json").write_text(json.dumps({"model_type": near}))
    allowed = "deepseek, deepseek_v2, deepseek_v3, mixtral, olmoe, qwen2_moe, qwen3_moe"
    with pytest.raises(CimsimError, match=allowed) as caught:
        load_checkpoint(tmp_path)
    assert "looked at model_type alone" in caught.value.sentence()
    assert "did you mean" not in caught.value.sentence().lower()


@pytest.mark.parametrize("kind", ["gpt_oss", "phimoe", "granitemoe", None, 5])
def test_other_families_are_refused_with_the_fields_that_were_looked_at(
    kind: object, tmp_path: Path
) -> None:
    from cimsim.model import load_checkpoint

    config = {"model_type": kind, "architectures": ["OtherForCausalLM"], "auto_map": {"A": "m.C"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CimsimError) as caught:
        load_checkpoint(tmp_path)
    sentence = caught.value.sentence()
    assert "model_type: unknown model family" in sentence
    assert kind is None or repr(kind) in sentence
    assert "looked at model_type and architectures = ['OtherForCausalLM']" in sentence
    assert "never run" in sentence
