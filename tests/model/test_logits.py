"""Logits against transformers, and against a torch oracle where transformers has no class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import deepseek_oracle
import numpy as np
import pytest
import torch
from model_builders import deepseek_config, deepseek_tensors
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, DeepseekV2Config, LlamaConfig
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Moe
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRotaryEmbedding

from cimsim.model import Checkpoint, Decoder, FloatLinear, load_checkpoint
from cimsim.zoo import model_folder

TOLERANCE = 1e-3
NAMES = [
    "olmoe", "olmoe-gqa-clip-bias", "qwen", "qwen-sparse-step", "mixtral", "qwen3", "qwen3-window",
    "deepseek-v2-lite", "deepseek-v2", "deepseek-v3", "deepseek-v3-halves",
]  # fmt: skip


def logits_of(checkpoint: Checkpoint, windows: np.ndarray) -> np.ndarray:
    linear = FloatLinear(checkpoint)
    sequences = np.arange(len(windows))
    return Decoder(checkpoint).forward(windows, linear, sequences=sequences).logits


@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_those_of_transformers(
    name: str, checkpoints: dict[str, Checkpoint], references: dict[str, Any], windows: np.ndarray
) -> None:
    with torch.no_grad():
        expected = references[name](torch.from_numpy(windows)).logits.numpy()
    assert np.abs(expected).max() > 1.0
    np.testing.assert_allclose(logits_of(checkpoints[name], windows), expected, atol=TOLERANCE)


def bundled_windows(checkpoint: Checkpoint) -> np.ndarray:
    vocab = checkpoint.program.vocab_size
    return np.random.default_rng(2).integers(0, vocab, size=(2, 256), dtype=np.int64)


@pytest.mark.parametrize("name", ["olmoe-tiny", "qwen-moe-tiny"])
def test_bundled_logits_equal_those_of_transformers(name: str) -> None:
    checkpoint = load_checkpoint(model_folder(name))
    windows = bundled_windows(checkpoint)
    reference = AutoModelForCausalLM.from_pretrained(model_folder(name), dtype=torch.float32).eval()
    with torch.no_grad():
        expected = reference(torch.from_numpy(windows)).logits.numpy()
    np.testing.assert_allclose(logits_of(checkpoint, windows), expected, atol=TOLERANCE)


def test_bundled_deepseek_logits_equal_those_of_the_oracle() -> None:
    folder = model_folder("deepseek-moe-tiny")
    checkpoint = load_checkpoint(folder)
    windows = bundled_windows(checkpoint)
    config = json.loads((folder / "config.json").read_text())
    weights = {k: v.float() for k, v in load_file(folder / "model.safetensors").items()}
    expected = deepseek_oracle.logits(torch.from_numpy(windows), weights, config).numpy()
    np.testing.assert_allclose(logits_of(checkpoint, windows), expected, atol=TOLERANCE)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm_topk_prob": True, "first_k_dense_replace": 2},
        {"routed_scaling_factor": 2.5, "first_k_dense_replace": 0, "rope_theta": 300.0},
    ],
)
def test_deepseek_logits_equal_those_of_the_oracle(
    changes: dict[str, Any], tmp_path: Path, windows: np.ndarray
) -> None:
    config = deepseek_config(**changes)
    weights = deepseek_tensors(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(weights, tmp_path / "model.safetensors")
    expected = deepseek_oracle.logits(torch.from_numpy(windows), weights, config).numpy()
    found = logits_of(load_checkpoint(tmp_path), windows)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def test_oracle_experts_equal_the_deepseek_v2_block_of_transformers() -> None:
    config = deepseek_config(routed_scaling_factor=1.7)
    weights, base = deepseek_tensors(config), "model.layers.1.mlp"
    block = DeepseekV2Moe(
        DeepseekV2Config(
            hidden_size=48, num_attention_heads=4, moe_intermediate_size=20, n_routed_experts=11,
            n_shared_experts=2, num_experts_per_tok=3, topk_method="greedy",
            routed_scaling_factor=1.7, norm_topk_prob=False,
        )
    )  # fmt: skip
    experts = [f"{base}.experts.{e}" for e in range(11)]
    gate_up = [
        torch.cat((weights[f"{e}.gate_proj.weight"], weights[f"{e}.up_proj.weight"]))
        for e in experts
    ]
    block.load_state_dict(
        {
            "gate.weight": weights[f"{base}.gate.weight"],
            "experts.gate_up_proj": torch.stack(gate_up),
            "experts.down_proj": torch.stack([weights[f"{e}.down_proj.weight"] for e in experts]),
            **{
                f"shared_experts.{r}_proj.weight": weights[f"{base}.shared_experts.{r}_proj.weight"]
                for r in ("gate", "up", "down")
            },
        }
    )
    x = torch.randn(1, 30, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = block(x)[0]
    found = deepseek_oracle.expert_block(x[0], weights, base, config)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_oracle_attention_equals_that_of_llama() -> None:
    config = deepseek_config()
    weights, base = deepseek_tensors(config), "model.layers.0.self_attn"
    llama = LlamaConfig(
        hidden_size=48, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        attn_implementation="eager",
    )  # fmt: skip
    layer = LlamaAttention(llama, 0)
    names = [f"{role}_proj.weight" for role in "qkvo"]
    layer.load_state_dict({name: weights[f"{base}.{name}"] for name in names})
    x = torch.randn(2, 30, 48, generator=torch.Generator().manual_seed(0))
    angles = LlamaRotaryEmbedding(llama)(x, torch.arange(30)[None])
    mask = torch.full((30, 30), -torch.inf).triu(1)[None, None]
    with torch.no_grad():
        expected = layer(x, position_embeddings=angles, attention_mask=mask)[0]
    found = deepseek_oracle.attention(x, weights, base, config)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_chosen_experts_are_those_of_transformers(
    name: str, checkpoints: dict[str, Checkpoint], references: dict[str, Any], windows: np.ndarray
) -> None:
    checkpoint, chosen = checkpoints[name], []
    hooks = [
        module.register_forward_hook(lambda *call: chosen.append(call[2][2].numpy()))
        for module in references[name].modules()
        if type(module).__name__.lower().endswith("topkrouter")
    ]
    with torch.no_grad():
        references[name](torch.from_numpy(windows))
    for hook in hooks:
        hook.remove()
    linear, sequences = FloatLinear(checkpoint), np.arange(len(windows))
    found = Decoder(checkpoint).forward(windows, linear, sequences=sequences).experts
    assert len(chosen) == len(checkpoint.program.moe_layers)
    np.testing.assert_array_equal(np.sort(found), np.sort(np.stack(chosen, axis=1)))
