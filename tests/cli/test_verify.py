"""`cimsim verify`: what it prints, when it fails, and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import Cimsim, small_run

from cimsim.model import FloatLinear, load_checkpoint
from cimsim.stages.gate import pass_gate
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


def _run(cimsim: Cimsim, model: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return cimsim("run", "isaac", *small_run(model), "--set", "run.chip_seeds=1", *more)


def test_a_run_on_a_folder_first_compares_clean_perplexity(
    cimsim: Cimsim, tiny_model: Path
) -> None:
    found = _run(cimsim, tiny_model, "--check", "auto")
    assert found.returncode == 0, found.stderr
    line = next(n for n in found.stderr.splitlines() if "in transformers" in n)
    assert line.startswith("tiny moe: clean perplexity of 128 tokens ")
    assert line.endswith("0.00% apart")
    assert found.stderr.index(line) < found.stderr.index("isaac: ")
    assert "Loading weights" not in found.stderr  # bars and remarks of transformers
    assert "[transformers]" not in found.stderr


def test_a_model_that_reads_otherwise_never_becomes_noisy(
    cimsim: Cimsim, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Off(FloatLinear):
        """Products half as large again."""

        def __call__(self, matrix: MatrixId, x: np.ndarray, tokens: TokenKeys) -> np.ndarray:
            return super().__call__(matrix, x, tokens) * np.float32(1.5)

    monkeypatch.setattr("cimsim.stages.verify.FloatLinear", Off)
    found = _run(cimsim, tiny_model, "--check", "auto", "--out", "here")
    assert found.returncode == 1
    assert "nothing noisy is computed on it" in found.stderr
    assert "at most 0.10% apart" in found.stderr
    assert "isaac: " not in found.stderr
    assert not found.stdout


@pytest.mark.parametrize(("gone", "why"), [("transformers", "is not installed"), (None, "1 GB")])
def test_what_cannot_be_checked_is_said_or_refused(
    gone: str | None, why: str, cimsim: Cimsim, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == gone else real(name)
    )
    if gone is None:
        monkeypatch.setattr("cimsim.stages.gate.PER_PARAMETER", 1e6)
        monkeypatch.setattr("cimsim.stages.gate.machine_bytes", lambda: 1 << 30)
    checkpoint = load_checkpoint(tiny_model)
    windows = np.zeros((2, 16), dtype=np.int64)
    said = pass_gate(checkpoint, windows, "auto")
    assert said.startswith("tiny moe: not checked against transformers, because ")
    assert why in said
    assert "cimsim verify --model" in said
    refused = _run(cimsim, tiny_model, "--check", "always")
    assert refused.returncode == 2
    assert why in refused.stderr
    wrong = _run(cimsim, tiny_model, "--check", "often", "--dry-run")
    assert wrong.returncode == 2
    assert "auto, always, never" in wrong.stderr
