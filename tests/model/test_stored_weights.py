"""Checkpoints as transformers writes them: shards, widths, fused experts; what stays in memory."""

from __future__ import annotations

import gc
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_builders import deepseek_config, deepseek_tensors
from refusals import refusal
from safetensors.torch import save_file

from cimsim.model import Checkpoint, load_checkpoint
from cimsim.model.stored_weights import MatrixCache
from cimsim.model.tensor_file import CHUNK_BYTES
from cimsim.workload.matrix import MatrixId

FUSED = ["olmoe-gqa-clip-bias", "qwen-sparse-step", "mixtral"]


@pytest.mark.parametrize("name", FUSED)
def test_fused_experts_in_shards_are_the_matrices_of_the_released_layout(
    name: str, references: dict[str, Any], checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    references[name].save_pretrained(tmp_path, save_original_format=False, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert any("gate_up_proj" in t for t in weight_map(tmp_path))
    found, released = load_checkpoint(tmp_path), checkpoints[name]
    for matrix in released.program.matrices():
        np.testing.assert_array_equal(found.matrix(matrix.id), released.matrix(matrix.id))


def weight_map(folder: Path) -> dict[str, str]:
    return dict(json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sharded_half_width_weights_are_read_to_the_bit(
    dtype: torch.dtype, references: dict[str, Any], tmp_path: Path
) -> None:
    model = references["olmoe"]
    state = {k: v.to(dtype) for k, v in model.state_dict().items()}
    model.save_pretrained(tmp_path, state_dict=state, max_shard_size="30KB")
    checkpoint = load_checkpoint(tmp_path)
    up = state["model.layers.1.mlp.experts.gate_up_proj"][5, 20:].float().numpy()
    np.testing.assert_array_equal(checkpoint.matrix(MatrixId(1, "up", 5)), up.T)
    norm = state["model.norm.weight"].float().numpy()
    np.testing.assert_array_equal(checkpoint.parameter(2, "final_norm"), norm)


def test_fused_experts_of_another_shape_are_refused_by_name(
    references: dict[str, Any], tmp_path: Path
) -> None:
    references["olmoe"].save_pretrained(tmp_path, save_original_format=False)
    config = json.loads((tmp_path / "config.json").read_text())
    config["intermediate_size"] = 21
    (tmp_path / "config.json").write_text(json.dumps(config))
    sentence = refusal(tmp_path)
    assert "experts.gate_up_proj' does not have the shape" in sentence
    assert "(found [9, 40, 48]); allowed: [9, 42, 48]" in sentence


def test_opening_and_reading_hold_pieces_and_not_the_model(tmp_path: Path) -> None:
    config = deepseek_config(hidden_size=256, moe_intermediate_size=128, n_routed_experts=40)
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(deepseek_tensors(config, torch.bfloat16), tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").stat().st_size > 16e6
    checkpoint = load_checkpoint(tmp_path)
    gc.collect()
    tracemalloc.start()
    checkpoint._weights.digest(tmp_path / "config.json")
    assert checkpoint.matrix(MatrixId(1, "down", 39)).shape == (128, 256)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * CHUNK_BYTES + 1e6


def matrix_of(value: int) -> np.ndarray:
    return np.full((2, 2), value, dtype=np.float32)


def test_a_cache_keeps_what_was_asked_for_last_and_no_more() -> None:
    read: list[int] = []

    def get(cache: MatrixCache, layer: int) -> float:
        def load() -> np.ndarray:
            read.append(layer)
            return matrix_of(layer)

        return float(cache.get(MatrixId(layer, "q"), load)[0, 0])

    cache = MatrixCache(most_bytes=32)
    assert [get(cache, layer) for layer in (0, 1, 0, 2, 0, 1)] == [0, 1, 0, 2, 0, 1]
    assert read == [0, 1, 2, 1]
    tiny = MatrixCache(most_bytes=15)
    assert [get(tiny, layer) for layer in (7, 7)] == [7, 7]
    assert read[4:] == [7, 7]
