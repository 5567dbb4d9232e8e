"""What a model's folder makes known goes where the other warnings of a run go."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_model import SMALL

from cimsim.cli.summary import print_plan
from cimsim.config.load import find_chip, load_chip
from cimsim.pipeline import run_chip
from cimsim.stages.models import read_text
from cimsim.stages.plan import Request, make_plan


def test_weights_that_were_left_out_are_told_before_and_with_the_result(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"x": "gone"}}')
    says = (
        "the weights of model are read from model.safetensors, as transformers does; "
        "not read: model.safetensors.index.json beside them"
    )
    request = Request(("isaac",), SMALL, (str(folder),), out=tmp_path / "run")
    print_plan(make_plan(request))
    assert f"warning: {says}\n" in capsys.readouterr().out
    monkeypatch.setattr("cimsim.stages.first_seed.scale_rows", lambda *_: ())
    config = load_chip(find_chip("isaac"), (*SMALL, "calibration.method=identity"))
    assert says in run_chip(config, str(folder), read_text(None)).warnings
