"""`cimsim verify`: what it prints, when it fails, and what it refuses."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from conftest import Cimsim

from cimsim.model import FloatLinear
from cimsim.workload.matrix import MatrixId, TokenKeys

SHORT = ("--tokens", "96", "--context", "32")


def test_a_bundled_model_is_that_of_transformers(cimsim: Cimsim) -> None:
    found = cimsim("verify", "--model", "olmoe-tiny", *SHORT, "--json")
    assert found.returncode == 0, found.stderr
    values = json.loads(found.stdout)
    assert values["passed"] is True
    assert values["tokens"] == 96
    assert 0.0 < values["mean_difference"] < values["max_difference"] < 1e-3
    assert values["top1"] == values["top5"] == values["experts"] == 1.0
    # The gate of an evaluation: clean perplexity within 0.1 % of that of transformers.
    assert values["ppl"] == pytest.approx(values["ppl_transformers"], rel=1e-3)
    assert 5.0 < values["ppl"] < 100.0


def test_a_model_that_differs_ends_with_one(cimsim: Cimsim) -> None:
    found = cimsim("verify", "--model", "qwen-moe-tiny", *SHORT, "--tolerance", "1e-9")
    assert found.returncode == 1
    assert "qwen-moe-tiny differs from transformers beyond the tolerance" in found.stderr
    assert "likeliest the same at 100.0000%" in found.stdout
    assert "0.00% apart" in found.stdout


def test_a_family_without_a_class_in_transformers_is_refused(cimsim: Cimsim) -> None:
    found = cimsim("verify", "--model", "deepseek-moe-tiny", *SHORT)
    assert found.returncode == 2
    assert "transformers has no class of its own" in found.stderr
    assert "'deepseek'" in found.stderr


def test_a_missing_package_is_one_sentence(cimsim: Cimsim, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "transformers" else real(name)
    )
    found = cimsim("verify", "--model", "olmoe-tiny", *SHORT)
    assert found.returncode == 2
    assert "needs the package transformers" in found.stderr
    assert "cimsim[verify]" in found.stderr


def test_wrong_products_are_found(cimsim: Cimsim, monkeypatch: pytest.MonkeyPatch) -> None:
    class Off(FloatLinear):
        """Products one percent too large."""

        def __call__(self, matrix: MatrixId, x: np.ndarray, tokens: TokenKeys) -> np.ndarray:
            return super().__call__(matrix, x, tokens) * np.float32(1.01)

    monkeypatch.setattr("cimsim.stages.verify.FloatLinear", Off)
    found = cimsim("verify", "--model", "olmoe-tiny", *SHORT, "--json")
    assert found.returncode == 1
    values = json.loads(found.stdout)
    assert values["passed"] is False
    assert values["max_difference"] > 0.05
