"""Other forms of the same model: equal in float, with fewer outliers where they promise it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.model import Checkpoint, Decoder, FloatLinear
from cimsim.stages.inspecting import inspect_model
from cimsim.stages.models import open_model
from cimsim.stages.reparametrised import hadamard, reparametrise
from cimsim.workload.matrix import MatrixId

Form = Literal["smooth", "rotate"]
NAMES = [
    "olmoe", "olmoe-gqa-clip-bias", "qwen-sparse-step", "qwen3", "mixtral", "deepseek",
    "deepseek-v2-lite", "deepseek-v3",
]  # fmt: skip


def logits(checkpoint: Checkpoint, windows: np.ndarray) -> np.ndarray:
    linear, sequences = FloatLinear(checkpoint), np.arange(len(windows))
    return Decoder(checkpoint).forward(windows, linear, sequences=sequences).logits


@pytest.mark.parametrize("form", ["smooth", "rotate"])
@pytest.mark.parametrize("name", NAMES)
def test_another_form_is_the_same_model_in_float(
    name: str, form: Form, checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    plain = checkpoints[name]
    other = reparametrise(plain, form, windows[:2])
    assert other.hash != plain.hash
    changed = other.matrix(plain.program.head.id)
    assert np.abs(changed - plain.matrix(plain.program.head.id)).max() > 1e-3
    np.testing.assert_allclose(logits(other, windows[2:]), logits(plain, windows[2:]), atol=2e-3)


@pytest.mark.parametrize("form", ["smooth", "rotate"])
def test_what_is_stored_is_not_what_another_form_has(form: Form) -> None:
    plain = open_model("olmoe-tiny")
    matrix = plain.program.layers[0].experts[0][0].id
    assert plain.bfloat16(matrix) is not None
    # A device that takes bfloat16 as it is stored would compute with the model on disk.
    assert reparametrise(plain, form, np.zeros((1, 8), dtype=np.int64)).bfloat16(matrix) is None


@given(st.sampled_from([1, 2, 6, 16, 48]), st.integers(0, 99))
def test_a_rotation_keeps_products_and_lengths(width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(2, 3, width)).astype(np.float32)
    signs = (1 - 2 * rng.integers(0, 2, width)).astype(np.float32)
    a, b = hadamard(x, signs), hadamard(w, signs)
    np.testing.assert_allclose(a @ b.T, x @ w.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose((a**2).sum(1), (x**2).sum(1), rtol=1e-5)


def test_a_rotation_by_hand() -> None:
    x = np.array([[1.0, 2.0, 3.0, 4.0]], dtype=np.float32)
    ones = np.ones(4, dtype=np.float32)
    np.testing.assert_allclose(hadamard(x, ones), [[5.0, -1.0, -2.0, 0.0]])
    assert hadamard(x, None) is x


def test_smoothing_balances_inputs_and_weights(
    checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    plain = checkpoints["mixtral"]
    other = reparametrise(plain, "smooth", windows)
    gains = other.parameter(1, "attention_norm"), plain.parameter(1, "attention_norm")
    scale = gains[1] / gains[0]
    for role in "qkv":
        found, stored = (c.matrix(MatrixId(1, role)) for c in (other, plain))
        np.testing.assert_allclose(found, stored * scale[:, None], rtol=1e-6)
    # Of each channel, the largest input and the largest weight are now the same.
    weights = np.max([np.abs(other.matrix(MatrixId(1, r))).max(axis=1) for r in "qkv"], axis=0)
    top = np.abs(_inputs(other, windows)).max(axis=0)
    np.testing.assert_allclose(top, weights, rtol=1e-3)


def _inputs(checkpoint: Checkpoint, windows: np.ndarray) -> np.ndarray:
    seen = []

    class Watch(FloatLinear):
        def __call__(self, matrix: MatrixId, x: np.ndarray, tokens: object) -> np.ndarray:
            if matrix == MatrixId(1, "q"):
                seen.append(x)
            return super().__call__(matrix, x, tokens)  # type: ignore[arg-type]

    Decoder(checkpoint).score(windows, Watch(checkpoint), sequences=np.arange(len(windows)))
    return np.concatenate(seen)


def test_a_rotation_spreads_an_outlier_channel(
    checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    plain = checkpoints["qwen3"]
    other = reparametrise(plain, "rotate", windows)
    before, after = (
        {(r.layer, r.role): r for r in inspect_model(c, windows[:3], windows[3:])}
        for c in (plain, other)
    )
    spread = [(before[i, "q"], after[i, "q"]) for i in range(3)]
    assert sum(b.input_max_over_rms > a.input_max_over_rms for b, a in spread) >= 2
