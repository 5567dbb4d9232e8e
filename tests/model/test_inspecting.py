"""What `cimsim inspect` finds where it was planted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from cimsim.model import Checkpoint, load_checkpoint
from cimsim.stages.inspecting import _Inputs, inspect_model
from cimsim.workload.matrix import MatrixId, TokenKeys
from tests.command_line import run_here


def test_weights_and_scarce_experts_are_those_of_a_plain_count(
    checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    checkpoint = checkpoints["qwen"]
    rows = {(r.layer, r.role): r for r in inspect_model(checkpoint, windows[:3], windows[3:])}
    assert list(rows) == list(
        dict.fromkeys((m.id.layer, m.id.role) for m in checkpoint.program.matrices())
    )
    spreads = [
        np.abs(w).max() / np.sqrt((w**2).mean())
        for w in (checkpoint.matrix(MatrixId(1, "up", e)) for e in range(10))
    ]
    found = rows[1, "up"]
    assert found.weight_max_over_rms == pytest.approx(max(spreads), rel=1e-5)
    assert found.matrices == 10
    # 120 tokens choose 3 of 10 experts: 36 each, and 48 inputs need 48.
    assert 0 < len(found.scarce) <= 10
    assert found.fewest_tokens < 48
    assert rows[1, "q"].scarce == ()
    assert rows[1, "q"].fewest_tokens == 120


def test_a_channel_that_a_norm_blows_up_is_an_outlier(
    folders: dict[str, Path], windows: np.ndarray, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["mixtral"], folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.input_layernorm.weight"][7] = 60.0
    save_file(tensors, folder / "model.safetensors")
    before, after = (
        {(r.layer, r.role): r for r in inspect_model(load_checkpoint(f), windows[:3], windows[3:])}
        for f in (folders["mixtral"], folder)
    )
    assert before[1, "q"].outlier_channels == 0
    assert after[1, "q"].outlier_channels == after[1, "v"].outlier_channels == 1
    assert after[1, "q"].input_max_over_rms > 2 * before[1, "q"].input_max_over_rms


def test_sinks_and_clipping_by_hand() -> None:
    inputs = _Inputs(2, 1, 4)
    x = np.array([[50.0, -3.0], [1.0, -2.0], [0.5, 1.0], [2.0, 1.0]], dtype=np.float32)
    tokens = TokenKeys(np.zeros(4, dtype=np.int64), np.arange(4))
    inputs.see(x, tokens, static=2.0)
    assert inputs.of_channel.tolist() == [50.0, 3.0]
    assert inputs.of_token.tolist() == [[50.0, 2.0, 1.0, 2.0]]
    assert (inputs.clipped, inputs.count) == (2, 8)
    assert (inputs.first_clipped, inputs.first_count) == (2, 2)


def test_the_command_prints_a_row_per_layer_and_role(tiny_model: Path) -> None:
    options = ("--tokens", "64", "--context", "16", "--calibration-tokens", "128")
    found = run_here("inspect", "--model", tiny_model, *options)
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[0].split()[:3] == ["layer", "role", "n"]
    rows = json.loads(run_here("inspect", "--model", tiny_model, *options, "--json").stdout)
    assert len(lines) == 1 + len(rows)
    assert {"layer", "role", "clip_rate", "sink_tokens", "scarce"} <= set(rows[0])
