"""One interpreter on two array libraries: the second one knows nothing of the first."""

from __future__ import annotations

import numpy as np
import pytest

from cimsim.backends.torch.arrays import TorchBackend
from cimsim.errors import CimsimInternalError
from cimsim.model import Checkpoint, Decoder, FloatLinear, Interpreter
from cimsim.workload.operations import Operation
from cimsim.workload.program import Program
from tests.twins.array_backend import PlainBackend, PlainLinear

NAMES = [
    "olmoe", "olmoe-gqa-clip-bias", "qwen", "qwen-sparse-step", "mixtral", "qwen3", "deepseek",
    "deepseek-v2-lite", "deepseek-v3",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_numba_and_plain_numpy_agree(
    name: str, checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    checkpoint, some = checkpoints[name], windows[:2]
    fast = Decoder(checkpoint)
    plain = Decoder(checkpoint, PlainBackend())
    digital, wide = FloatLinear(checkpoint), PlainLinear(checkpoint)
    found = fast.forward(some, digital, sequences=np.arange(2))
    slow = plain.forward(some, wide, sequences=np.arange(2))
    np.testing.assert_array_equal(np.sort(found.experts), np.sort(slow.experts))
    np.testing.assert_allclose(found.gates, slow.gates, atol=1e-5)
    np.testing.assert_allclose(found.logits, slow.logits, atol=2e-4)
    scored = fast.score(some, digital, sequences=np.arange(2)).nll
    twin = plain.score(some, wide, sequences=np.arange(2)).nll
    np.testing.assert_allclose(scored, twin, atol=2e-4)


@pytest.mark.parametrize("name", NAMES)
def test_numba_and_torch_agree(
    name: str, checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    checkpoint, some = checkpoints[name], windows[:3]
    fast, other = Decoder(checkpoint), Decoder(checkpoint, TorchBackend())
    digital, tensors = FloatLinear(checkpoint), FloatLinear(checkpoint, TorchBackend())
    ours = fast.forward(some, digital, sequences=np.arange(3))
    theirs = other.forward(some, tensors, sequences=np.arange(3))
    np.testing.assert_array_equal(ours.experts, theirs.experts)
    np.testing.assert_allclose(ours.gates, theirs.gates, atol=1e-5)
    np.testing.assert_allclose(ours.logits, theirs.logits, atol=1e-4)
    scored = fast.score(some, digital, sequences=np.arange(3)).nll
    again = other.score(some, tensors, sequences=np.arange(3)).nll
    np.testing.assert_allclose(scored, again, atol=1e-5)


def test_products_of_another_library_are_refused(
    checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    decoder = Decoder(checkpoints["olmoe"])
    with pytest.raises(CimsimInternalError, match="came back as float64"):
        decoder.forward(windows, PlainLinear(checkpoints["olmoe"]), sequences=np.arange(5))


def test_an_operation_without_a_rule_is_refused(checkpoints: dict[str, Checkpoint]) -> None:
    class Convolve(Operation):
        """An operation that no family has."""

    decoder = Decoder(checkpoints["olmoe"])
    known = decoder.program.operations
    program = Program("new", (known[0], Convolve(0), *known[1:]))
    interpreter = Interpreter(
        program, decoder.parameters, decoder.backend, FloatLinear(checkpoints["olmoe"])
    )
    flight = decoder.flight(np.ones((1, 4), dtype=np.int64), np.arange(1))
    with pytest.raises(CimsimInternalError, match="no rule for operation Convolve"):
        interpreter.advance(flight)
