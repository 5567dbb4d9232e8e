"""Random models for the tests: sizes chosen so that no two dimensions are equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    DeepseekV2Config,
    DeepseekV2ForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
    PreTrainedModel,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

SHAPE: dict[str, Any] = {
    "vocab_size": 199,
    "hidden_size": 48,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
QWEN: dict[str, Any] = {
    "moe_intermediate_size": 20,
    "shared_expert_intermediate_size": 36,
    "intermediate_size": 44,
    "num_experts": 10,
    "num_experts_per_tok": 3,
}
LATENT: dict[str, Any] = {
    "num_key_value_heads": 4,
    "intermediate_size": 44,
    "moe_intermediate_size": 20,
    "n_routed_experts": 12,
    "num_experts_per_tok": 3,
    "kv_lora_rank": 14,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 10,
    "v_head_dim": 6,
    "first_k_dense_replace": 1,
}
YARN: dict[str, Any] = {
    "rope_type": "yarn",
    "rope_theta": 1e4,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}


def transformers_models() -> dict[str, PreTrainedModel]:
    """Return models that between them use every option of their families."""
    configs: dict[str, tuple[type[PreTrainedModel], Any]] = {
        "olmoe": (
            OlmoeForCausalLM,
            OlmoeConfig(
                **SHAPE,
                num_hidden_layers=2,
                num_experts=9,
                num_experts_per_tok=4,
                intermediate_size=20,
                tie_word_embeddings=True,
            ),
        ),
        "olmoe-gqa-clip-bias": (
            OlmoeForCausalLM,
            OlmoeConfig(
                **SHAPE,
                num_hidden_layers=3,
                num_key_value_heads=2,
                num_experts=10,
                num_experts_per_tok=3,
                intermediate_size=24,
                clip_qkv=1.5,
                norm_topk_prob=True,
                attention_bias=True,
                rope_parameters={"rope_type": "default", "rope_theta": 500.0},
            ),
        ),
        "qwen": (
            Qwen2MoeForCausalLM,
            Qwen2MoeConfig(**SHAPE, **QWEN, num_hidden_layers=2, num_key_value_heads=4),
        ),
        "qwen-sparse-step": (
            Qwen2MoeForCausalLM,
            Qwen2MoeConfig(
                **SHAPE,
                **QWEN,
                num_hidden_layers=5,
                num_key_value_heads=2,
                decoder_sparse_step=2,
                mlp_only_layers=[3],
                norm_topk_prob=True,
                head_dim=16,
                qkv_bias=False,
                tie_word_embeddings=True,
                rms_norm_eps=1e-3,
            ),
        ),
        "mixtral": (
            MixtralForCausalLM,
            MixtralConfig(
                **SHAPE,
                num_hidden_layers=2,
                num_key_value_heads=1,
                head_dim=16,
                num_local_experts=6,
                num_experts_per_tok=2,
                intermediate_size=40,
            ),
        ),
    }
    configs |= _qwen3() | _latent()
    torch.manual_seed(0)
    return {name: _randomised(kind(config)) for name, (kind, config) in configs.items()}


def _qwen3() -> dict[str, tuple[type[PreTrainedModel], Any]]:
    shape = SHAPE | {"num_hidden_layers": 3, "num_key_value_heads": 2, "head_dim": 16}
    experts = {k: v for k, v in QWEN.items() if not k.startswith("shared")}
    sparse = experts | {"decoder_sparse_step": 2, "mlp_only_layers": [2]}
    stretched = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0}
    turns = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    turns["original_max_position_embeddings"] = 32
    return {
        "qwen3": (
            Qwen3MoeForCausalLM,
            Qwen3MoeConfig(**shape, **sparse, attention_bias=True, rope_parameters=YARN),
        ),
        "qwen3-window": (
            Qwen3MoeForCausalLM,
            Qwen3MoeConfig(
                **shape,
                **experts,
                norm_topk_prob=True,
                use_sliding_window=True,
                sliding_window=50,
                rope_parameters=stretched | turns,
            ),
        ),
    }


def _latent() -> dict[str, tuple[type[PreTrainedModel], Any]]:
    shape = SHAPE | LATENT | {"num_hidden_layers": 2}
    scales = {"mscale": 0.7, "mscale_all_dim": 0.9}
    groups = {"n_group": 4, "topk_group": 2}
    return {
        "deepseek-v2-lite": (
            DeepseekV2ForCausalLM,
            DeepseekV2Config(
                **shape,
                n_shared_experts=2,
                q_lora_rank=None,
                routed_scaling_factor=1.3,
                rope_parameters=YARN | scales,
            ),
        ),
        "deepseek-v2": (
            DeepseekV2ForCausalLM,
            DeepseekV2Config(
                **shape,
                **groups,
                n_shared_experts=1,
                q_lora_rank=22,
                topk_method="group_limited_greedy",
            ),
        ),
        "deepseek-v3": (
            DeepseekV3ForCausalLM,
            DeepseekV3Config(
                **shape,
                **groups,
                n_shared_experts=1,
                q_lora_rank=22,
                rope_parameters=YARN | scales,
            ),
        ),
        "deepseek-v3-halves": (
            DeepseekV3ForCausalLM,
            DeepseekV3Config(
                **shape,
                n_shared_experts=1,
                q_lora_rank=None,
                n_group=1,
                topk_group=1,
                norm_topk_prob=False,
                rope_interleave=False,
            ),
        ),
    }


def _randomised(model: PreTrainedModel) -> PreTrainedModel:
    # Norm gains start at 1 and biases at 0, which would hide a missing or misplaced one.
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            mean = 0.0 if name.endswith("bias") else 1.0
            torch.nn.init.normal_(parameter, mean, 0.3)
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            torch.nn.init.normal_(buffer, 0.0, 0.3)
    return model.eval()


def save_random(model: PreTrainedModel, folder: Path) -> Path:
    """Write a model as transformers does and return its folder."""
    model.save_pretrained(folder)
    return folder


def deepseek_config(**changes: Any) -> dict[str, Any]:
    """Return a config.json in the keys of deepseek-moe-16b-base."""
    config: dict[str, Any] = {
        "architectures": ["DeepseekForCausalLM"],
        "model_type": "deepseek",
        "vocab_size": 199,
        "hidden_size": 48,
        "intermediate_size": 52,
        "moe_intermediate_size": 20,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "n_shared_experts": 2,
        "n_routed_experts": 11,
        "num_experts_per_tok": 3,
        "moe_layer_freq": 1,
        "first_k_dense_replace": 1,
        "norm_topk_prob": False,
        "scoring_func": "softmax",
        "aux_loss_alpha": 0.001,
        "seq_aux": True,
        "hidden_act": "silu",
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "attention_bias": False,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }
    return config | changes


def deepseek_tensors(
    config: dict[str, Any], dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Return random weights under the names of deepseek-moe-16b-base."""
    generator = torch.Generator().manual_seed(3)
    d, kv = config["hidden_size"], config["hidden_size"] // 4 * config["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], d),
        "model.norm.weight": (d,),
        "lm_head.weight": (config["vocab_size"], d),
    }
    for layer in range(config["num_hidden_layers"]):
        base = f"model.layers.{layer}"
        shapes[f"{base}.input_layernorm.weight"] = (d,)
        shapes[f"{base}.post_attention_layernorm.weight"] = (d,)
        for role, width in (("q", d), ("k", kv), ("v", kv), ("o", d)):
            shapes[f"{base}.self_attn.{role}_proj.weight"] = (width, d)
        if layer < config["first_k_dense_replace"]:
            _feed_forward(shapes, f"{base}.mlp", d, config["intermediate_size"])
            continue
        shapes[f"{base}.mlp.gate.weight"] = (config["n_routed_experts"], d)
        width = config["moe_intermediate_size"]
        for expert in range(config["n_routed_experts"]):
            _feed_forward(shapes, f"{base}.mlp.experts.{expert}", d, width)
        shared = config["n_shared_experts"] * width
        _feed_forward(shapes, f"{base}.mlp.shared_experts", d, shared)
    return {
        name: (
            torch.randn(s, generator=generator) * (0.2 if len(s) == 2 else 0.3)
            + (1.0 if len(s) == 1 else 0.0)
        ).to(dtype)
        for name, s in shapes.items()
    }


def _feed_forward(shapes: dict[str, tuple[int, ...]], base: str, d: int, width: int) -> None:
    shapes[f"{base}.gate_proj.weight"] = (width, d)
    shapes[f"{base}.up_proj.weight"] = (width, d)
    shapes[f"{base}.down_proj.weight"] = (d, width)
