"""Checkpoint folders: what is read, with which bits, and what is refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from model_builders import deepseek_config, deepseek_tensors
from refusals import refusal
from safetensors.torch import load_file, save_file

from cimsim.errors import CimsimError
from cimsim.model import Checkpoint, build_program, load_checkpoint
from cimsim.workload.matrix import MatrixId

WEIGHTS = "model.safetensors"


def test_matrices_are_in_x_times_w_orientation(folders: dict[str, Path]) -> None:
    checkpoint = load_checkpoint(folders["deepseek"])
    stored = load_file(folders["deepseek"] / WEIGHTS)
    found = checkpoint.matrix(MatrixId(1, "down", 7))
    expected = stored["model.layers.1.mlp.experts.7.down_proj.weight"].numpy().T
    assert found.flags.c_contiguous
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_every_matrix_of_the_program_has_its_shape(checkpoints: dict[str, Checkpoint]) -> None:
    for checkpoint in checkpoints.values():
        for matrix in build_program(checkpoint).matrices():
            assert checkpoint.matrix(matrix.id).shape == (matrix.n_in, matrix.n_out)


def test_program_counts_experts_and_macs_by_hand(checkpoints: dict[str, Checkpoint]) -> None:
    program = build_program(checkpoints["deepseek"])
    assert program.moe_layers == (1, 2)
    assert (program.n_experts, program.top_k) == (11, 3)
    attention = 48 * 48 * 2 + 48 * 24 * 2
    moe = 48 * 11 + 3 * (3 * 48 * 20) + 3 * 48 * 40
    assert program.layers[0].active_macs() == attention + 3 * 48 * 52
    assert program.layers[1].active_macs() == attention + moe
    assert program.linear_macs_per_token() == 3 * attention + 3 * 48 * 52 + 2 * moe + 48 * 199


def test_a_tied_head_is_the_transposed_embedding(checkpoints: dict[str, Checkpoint]) -> None:
    checkpoint = checkpoints["olmoe"]
    head = checkpoint.matrix(build_program(checkpoint).head.id)
    np.testing.assert_array_equal(head, checkpoint.parameter(-1, "embedding").T)


def test_the_hash_changes_with_weights_and_with_configuration(folder: Path) -> None:
    first = load_checkpoint(folder).hash
    assert load_checkpoint(folder).hash == first
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rope_theta": 500.0}))
    second = load_checkpoint(folder).hash
    tensors = load_file(folder / WEIGHTS)
    tensors["model.norm.weight"][0] += 1.0
    save_file(tensors, folder / WEIGHTS)
    assert len({first, second, load_checkpoint(folder).hash}) == 3


def test_byte_order_marks_change_neither_model_nor_hash(folder: Path) -> None:
    plain = load_checkpoint(folder)
    index = {"weight_map": dict.fromkeys(load_file(folder / WEIGHTS), "model-1.safetensors")}
    (folder / WEIGHTS).rename(folder / "model-1.safetensors")
    (folder / f"{WEIGHTS}.index.json").write_text("\ufeff" + json.dumps(index), "utf-8")
    sharded = load_checkpoint(folder)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text("\ufeff" + config, "utf-8")
    marked = load_checkpoint(folder)
    assert marked.program.operations == plain.program.operations
    assert marked.hash == sharded.hash


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nowhere")


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    assert "no config.json" in refusal(tmp_path)


@pytest.mark.parametrize(
    "text", ["{", "[]", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")]
)
def test_a_config_that_is_not_an_object_is_refused(text: str, folder: Path) -> None:
    (folder / "config.json").write_text(text, encoding="latin-1")
    assert "JSON" in refusal(folder)


def test_deeply_nested_json_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text("[" * 100_000)
    assert "JSON" in refusal(folder)


Edit = Callable[[dict[str, torch.Tensor]], None]
GATE = "model.layers.1.mlp.gate.weight"


def _drop(tensors: dict[str, torch.Tensor]) -> None:
    del tensors[GATE]


def _reshape(tensors: dict[str, torch.Tensor]) -> None:
    tensors[GATE] = tensors[GATE].T.contiguous()


def _poison(tensors: dict[str, torch.Tensor]) -> None:
    tensors[GATE][3, 4] = torch.nan


def _add(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.layers.0.self_attn.q_proj.bias"] = torch.zeros(48)


@pytest.mark.parametrize(
    ("edit", "why"),
    [(_drop, "lacks"), (_reshape, "[48, 11]"), (_poison, "not finite"), (_add, "no place")],
)
def test_tensors_that_do_not_fit_are_refused_by_name(edit: Edit, why: str, folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    edit(tensors)
    save_file(tensors, folder / WEIGHTS)
    sentence = refusal(folder)
    assert why in sentence
    assert "model.layers." in sentence


def test_bfloat16_weights_are_read(tmp_path: Path) -> None:
    config = deepseek_config()
    tensors = deepseek_tensors(config, torch.bfloat16)
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(tensors, tmp_path / WEIGHTS)
    found = load_checkpoint(tmp_path).matrix(MatrixId(0, "q"))
    expected = tensors["model.layers.0.self_attn.q_proj.weight"].float().numpy().T
    np.testing.assert_array_equal(found, expected)


def test_a_missing_tokenizer_is_an_error_only_when_asked_for(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    with pytest.raises(CimsimError, match=r"no tokenizer\.json"):
        checkpoint.encode("text")


def test_a_damaged_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(CimsimError, match="tokenizer cannot be read"):
        load_checkpoint(folder).encode("text")
