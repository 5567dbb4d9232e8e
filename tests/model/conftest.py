"""Small random checkpoints of every family, written once a session."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_builders import deepseek_config, deepseek_tensors, save_random, transformers_models
from safetensors.torch import save_file

from cimsim.model import Checkpoint, load_checkpoint


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def references() -> dict[str, Any]:
    """Randomly initialised transformers models by name."""
    return transformers_models()


@pytest.fixture(scope="session")
def folders(
    references: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A Hugging Face folder of every reference model, and of a DeepSeek-MoE."""
    root = tmp_path_factory.mktemp("checkpoints")
    out = {name: save_random(model, root / name) for name, model in references.items()}
    folder = root / "deepseek"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(deepseek_config()))
    save_file(deepseek_tensors(deepseek_config()), folder / "model.safetensors")
    return out | {"deepseek": folder}


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A private copy of the DeepSeek-MoE folder."""
    copy = tmp_path / "model"
    shutil.copytree(folders["deepseek"], copy)
    return copy


@pytest.fixture(scope="session")
def checkpoints(folders: dict[str, Path]) -> dict[str, Checkpoint]:
    """The loaded checkpoints by name."""
    return {name: load_checkpoint(folder) for name, folder in folders.items()}


@pytest.fixture(scope="session")
def windows() -> np.ndarray:
    """Five windows of 40 random tokens."""
    return np.random.default_rng(1).integers(0, 199, size=(5, 40), dtype=np.int64)
