"""A scale for every input: the same model in float, less error where channels differ, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cimsim.config.load import find_chip, load_chip
from cimsim.errors import CimsimError
from cimsim.mac import calibrate_range, ideal_integer
from cimsim.mac.quantize import greatest_integer
from cimsim.model import Checkpoint, Decoder, FloatLinear
from cimsim.model.array_backend import NumbaBackend
from cimsim.stages.input_channels import scale_channels
from cimsim.stages.recoded import clipped_columns
from cimsim.workload.matrix import MatrixId, TokenKeys

NAMES = [
    "olmoe", "olmoe-gqa-clip-bias", "qwen-sparse-step", "qwen3", "mixtral", "deepseek",
    "deepseek-v2-lite", "deepseek-v3",
]  # fmt: skip
PARTS = ("attention", "router", "experts", "shared", "head")
Floats = np.ndarray


def scaled(plain: Checkpoint, windows: np.ndarray) -> Checkpoint:
    return scale_channels(plain, PARTS, windows, NumbaBackend())


def logits(checkpoint: Checkpoint, windows: np.ndarray) -> Floats:
    linear, sequences = FloatLinear(checkpoint), np.arange(len(windows))
    return Decoder(checkpoint).forward(windows, linear, sequences=sequences).logits


@pytest.mark.parametrize("name", NAMES)
def test_a_model_with_scales_is_the_same_in_float(
    name: str, checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    plain = checkpoints[name]
    other = scaled(plain, windows[:2])
    assert other.hash != plain.hash
    assert set(other.input_scales) == {m.id for m in plain.program.matrices()}
    np.testing.assert_allclose(logits(other, windows[2:]), logits(plain, windows[2:]), atol=2e-3)


def test_scales_are_roots_of_ratios_of_maxima(
    checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    plain, seen = checkpoints["olmoe"], {}

    class Watch(FloatLinear):
        def __call__(self, matrix: MatrixId, x: Floats, tokens: TokenKeys) -> Floats:
            seen.setdefault(matrix, []).append(x)
            return super().__call__(matrix, x, tokens)

    some = windows[:2]
    Decoder(plain).score(some, Watch(plain), sequences=np.arange(len(some)))
    other, o = scaled(plain, some), MatrixId(0, "o")
    weight = plain.matrix(o)
    expected = np.sqrt(np.abs(np.concatenate(seen[o])).max(axis=0) / np.abs(weight).max(axis=1))
    np.testing.assert_allclose(other.input_scales[o], expected, rtol=1e-5)
    np.testing.assert_allclose(other.matrix(o), weight * expected[:, None], rtol=1e-5)


def test_matrices_that_take_one_vector_have_one_scale(
    checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    plain = checkpoints["olmoe"]
    scales = scaled(plain, windows[:1]).input_scales
    layer = plain.program.layers[0]
    gates, ups, downs = zip(*layer.experts, strict=True)
    for group in ([*layer.router, *gates, *ups], downs, layer.attention[:3]):
        assert len({scales[m.id].tobytes() for m in group}) == 1
    assert scales[downs[0].id].tobytes() != scales[gates[0].id].tobytes()


def test_digital_parts_keep_their_weights_and_clipping_keeps_scales(
    checkpoints: dict[str, Checkpoint], windows: np.ndarray
) -> None:
    plain = checkpoints["olmoe"]
    other = scale_channels(plain, ("experts",), windows[:1], NumbaBackend())
    assert {m.part for m in other.input_scales} == {"experts"}
    assert np.array_equal(other.matrix(MatrixId(0, "q")), plain.matrix(MatrixId(0, "q")))
    assert np.array_equal(other.matrix(plain.program.head.id), plain.matrix(plain.program.head.id))
    assert other.bfloat16(MatrixId(0, "gate", 0)) is None
    assert clipped_columns(other, 1.0, 8).input_scales == other.input_scales


def test_channels_that_differ_err_less_with_scales_of_their_own() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 32)).astype(np.float32)
    x[:, 3] *= 300.0  # an outlier channel
    weight = rng.standard_normal((32, 8)).astype(np.float32)
    scale = np.sqrt(np.abs(x).max(axis=0) / np.abs(weight).max(axis=1))
    keys = TokenKeys.of_windows(np.arange(1), 64)
    matrix, exact, errors = MatrixId(0, "q"), x @ weight, []
    for divisor in (np.ones(32, dtype=np.float32), scale):
        tile = load_chip(find_chip("isaac"), ("tile.input.scale=per_channel",)).tile
        given, stored = (x / divisor).astype(np.float32), (weight * divisor[:, None])
        found = calibrate_range(stored.astype(np.float32), matrix, tile, given)
        product = ideal_integer(stored.astype(np.float32), tile, matrix=matrix, adc_range=found)
        y = product.multiply(given, keys, read_seed=0, mode="detailed")
        errors.append(float(np.sqrt(np.mean((y - exact) ** 2))))
        # The twin: codes of a static grid, rounded half to even.
        top = greatest_integer(tile.input.bits)
        lsb = np.float32(np.abs(given).max() / np.float32(top))
        codes = np.clip(np.rint(given / lsb), -top, top)
        steps = np.abs(stored).max(axis=0) / greatest_integer(tile.weight.bits)
        levels = np.rint(stored.astype(np.float32) / np.float32(steps))
        np.testing.assert_allclose(y, (codes @ levels) * lsb * steps, rtol=1e-4)
    assert errors[1] < 0.5 * errors[0]


def test_the_study_and_torch_modules_refuse_such_chips() -> None:
    torch = pytest.importorskip("torch")
    from cimsim.torch import analogize

    config = load_chip(find_chip("isaac"), ("tile.input.scale=per_channel",))
    with pytest.raises(CimsimError, match=r"tile\.input\.scale.*per_channel.*per_token or static"):
        analogize(torch.nn.Linear(4, 4), config)
