"""A family of known operations is one file: the recipe of CONTRIBUTING, with no edit elsewhere."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cimsim.config import ChipConfig
from cimsim.errors import CimsimError
from cimsim.model import Checkpoint, Decoder, FloatLinear, load_checkpoint
from cimsim.model.families import FAMILIES
from cimsim.stages.placed_chip import place_chip
from cimsim.stages.timing import Replay, time_phase

# Like OLMoE, but the first layer is dense and takes the weights of the first expert.
PLUGIN = """
from cimsim.model.families.family import Family, mlp_tensors, read_blocks, read_mixture
from cimsim.model.families import register_family


def operations(config):
    blocks = read_blocks(config, norm_eps=1e-5)
    mixture = read_mixture(config, experts="num_experts", width="intermediate_size")
    layers = config.layers()
    yield blocks.embed()
    for layer in range(layers):
        yield from blocks.attention(layer, qk_norm=True)
        if layer == 0:
            yield from blocks.dense(layer, config.integer("intermediate_size"))
        else:
            yield from blocks.mixture(layer, mixture)
    yield from blocks.head(layers)


register_family(Family("dense_first_olmoe", operations, mlp_tensors(shared="")))
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[ModuleType]:
    """The plug-in as a module of its own, forgotten after the test."""
    path = tmp_path / "dense_first.py"
    path.write_text(PLUGIN)
    spec = importlib.util.spec_from_file_location("dense_first", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del FAMILIES._members["dense_first_olmoe"]


@pytest.fixture
def dense_first(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A checkpoint of that family, made from an OLMoE."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(folders["olmoe"], folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "dense_first_olmoe"}))
    tensors = load_file(folder / "model.safetensors")
    base = "model.layers.0.mlp."
    kept = {name: t for name, t in tensors.items() if not name.startswith(base)}
    for role in ("gate", "up", "down"):
        kept[f"{base}{role}_proj.weight"] = tensors[f"{base}experts.0.{role}_proj.weight"]
    save_file(kept, folder / "model.safetensors")
    return folder


def test_a_family_from_outside_is_computed_placed_and_timed(
    plugin: ModuleType, dense_first: Path, windows: np.ndarray
) -> None:
    checkpoint = load_checkpoint(dense_first)
    program = checkpoint.program
    assert [layer.is_moe for layer in program.layers] == [False, True]
    assert [o.layer for o in program.operations] == [-1, *[0] * 9, *[1] * 10, 2, 2]
    scored = Decoder(checkpoint).score(windows[:2], FloatLinear(checkpoint), sequences=np.arange(2))
    assert np.isfinite(scored.nll).all()
    chip = place_chip(ChipConfig(name="plain"), program, scored.trace)
    phase = time_phase(chip, Replay(scored.trace), None, name="prefill", batch=2)
    visits = {str(key): n for key, n in phase.result.counts.unit_vectors.items()}
    assert visits["0.shared"] == 80
    assert sum(n for key, n in visits.items() if key.startswith("1.experts")) == 80 * 4


def test_a_taken_name_is_refused(checkpoints: dict[str, Checkpoint]) -> None:
    from cimsim.model.families import register_family

    with pytest.raises(CimsimError, match=r"registered already.*mixtral"):
        register_family(replace(FAMILIES["mixtral"]))
