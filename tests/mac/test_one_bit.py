"""Weights and inputs of one bit: +1 and -1 times a mean magnitude, as XNOR-Net has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cimsim.config import ChipConfig
from cimsim.config.load import find_chip, load_chip
from cimsim.cost.density import default_density
from cimsim.errors import CimsimError
from cimsim.mac import (
    AdcRange,
    MacStatistics,
    calibrate_range,
    ideal_integer,
    program_matrix,
    unused_range,
)
from cimsim.mac.devices import device_model
from cimsim.mac.quantize import quantize_weights, quantized_inputs, static_scale_of
from tests.mac.helpers import FIRST, MATRIX, keys_of, make_tile, normal, program

ENCODINGS = ("differential", "offset", "isaac", "center")


def _one_bit(**sections: Any):
    """A tile of one-bit weights and inputs in one-bit cells."""
    base: dict[str, Any] = {
        "weight": {"bits": 1},
        "input": {"bits": 1},
        "device": {"kind": "ideal", "cell_bits": 1},
        "adc": {"kind": "isaac", "bits": 16},
    }
    for name, section in sections.items():
        base[name] = base.get(name, {}) | section
    return make_tile(**base)


def test_codes_are_signs_and_scales_are_mean_magnitudes() -> None:
    weight = np.array([[1.0, -3.0], [-0.5, 0.0], [0.0, -3.0]], dtype=np.float32)
    q, scale = quantize_weights(weight, 1, per_column=True)
    # A zero, of either sign, is +1.
    np.testing.assert_array_equal(q, [[1, -1], [-1, 1], [1, -1]])
    np.testing.assert_array_equal(scale, np.float32([0.5, 2.0]))
    q, scale = quantize_weights(weight, 1, per_column=False)
    np.testing.assert_array_equal(q, [[1, -1], [-1, 1], [1, -1]])
    np.testing.assert_array_equal(scale, np.float32([1.25, 1.25]))
    x = np.array([[2.0, -1.0, -0.0], [0.0, 0.0, 0.0], [1e-45, -1e-45, 0.0]], dtype=np.float32)
    codes, size = quantized_inputs(x, 1, 0.0, MATRIX)
    np.testing.assert_array_equal(codes, [[1, -1, 1], [1, 1, 1], [1, -1, 1]])
    np.testing.assert_array_equal(size, np.float32([1.0, 0.0, 0.0]))
    _, size = quantized_inputs(x, 1, 0.25, MATRIX)
    np.testing.assert_array_equal(size, np.float32([0.25, 0.25, 0.25]))


def test_static_scale_is_the_mean_magnitude_of_the_text_and_one_without_any() -> None:
    x = np.array([[2.0, -1.0], [0.0, 3.0]], dtype=np.float32)
    assert static_scale_of(x, 1) == 1.5
    assert static_scale_of(x, 3) == 1.0
    assert static_scale_of(0.0 * x, 1) == 1.0
    weight, tile = np.eye(2, dtype=np.float32), _one_bit(input={"scale": "static"})
    assert calibrate_range(weight, MATRIX, tile, x).input_scale == 1.5
    with pytest.raises(CimsimError) as caught:
        calibrate_range(weight, MATRIX, tile)
    assert caught.value.key == "tile.input.scale"


def test_no_other_scale_errs_less() -> None:
    weight = normal(np.random.default_rng(0), 50, 4)
    q, scale = quantize_weights(weight, 1, per_column=True)
    least = np.square(weight - scale * q).sum(axis=0)
    for factor in (0.99, 1.01):
        assert (np.square(weight - factor * scale * q).sum(axis=0) > least).all()


def test_zeros_have_no_product_and_nothing_else_is_finite_by_accident() -> None:
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 20, 3), normal(rng, 3, 20)
    weight[:, 1] = 0.0
    x[1] = 0.0
    noisy = {"kind": "gaussian", "sigma": 0.3, "sigma_unit": "cell_level", "cell_bits": 1}
    tile = _one_bit(weight={"scale": "per_column"}, device=noisy)
    found = program(weight, tile).multiply(x, keys_of(3), read_seed=0)
    assert not found[:, 1].any()
    assert not found[1].any()
    assert found[2, 0] != 0.0
    x[2, 4] = np.inf
    with pytest.raises(CimsimError, match="finite"):
        program(weight, tile).multiply(x, keys_of(3), read_seed=0)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_cells_hold_the_bit_of_a_weight(encoding: str) -> None:
    weight = np.array([[1.0, 2.0, -1.0], [-1.0, 3.0, -2.0], [-1.0, 1.0, -1.0]], dtype=np.float32)
    tile = _one_bit(weight={"encoding": encoding}, pe={"subtract": "digital"})
    cells = program(weight, tile).cells
    found = cells.wide() * cells.grid
    bit = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 0]])
    expected = {
        "differential": np.hstack([bit, 1 - bit]),
        "offset": bit,
        # Two of three ones: the second column is stored as its complement; and the unit column.
        "isaac": np.hstack([np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0]]), np.ones((3, 1))]),
        # A column of one sign is its own centre.
        "center": np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0]]),
    }
    np.testing.assert_array_equal(found, expected[encoding])


@pytest.mark.parametrize(
    ("signed", "planes"),
    [
        ("twos_complement", [[0, 1, 0]]),
        ("shift", [[1, 0, 1]]),
        ("two_phase", [[1, 0, 1], [0, 1, 0]]),
    ],
)
def test_rows_are_driven_with_one_bit_a_plane(signed: str, planes: list[list[int]]) -> None:
    x = np.array([[0.5, -2.0, 0.0]], dtype=np.float32)
    tile = _one_bit(weight={"encoding": "offset"}, input={"signed": signed})
    programmed = program(np.eye(3, dtype=np.float32), tile)  # zeros become +1, too: ones
    found = programmed.codes(x, keys_of(1), read_seed=0)[0, 0]
    np.testing.assert_array_equal(found, np.repeat(np.sum(planes, axis=1)[:, None], 3, axis=1))
    statistics = MacStatistics()
    programmed.multiply(x, keys_of(1), read_seed=0, statistics=statistics)
    assert statistics.conversions == 3 * len(planes)
    assert statistics.total.input_bit_density == pytest.approx(np.mean(planes))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("bits", [1, 2])
def test_an_lsb_is_a_unit_of_the_integer_weight(encoding: str, bits: int) -> None:
    """Of one bit +-1 are two LSB apart: sigma is the same share of the greatest weight."""
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 400, 64), normal(rng, 64, 400)
    device = {"kind": "gaussian", "sigma": 0.2, "sigma_unit": "weight_lsb", "cell_bits": bits}
    fine = {"range": {"kind": "fixed", "levels": 1000.0}}
    tile = _one_bit(
        weight={"encoding": encoding, "bits": bits}, device=device, adc=fine,
        input={"signed": "two_phase"}, crossbar={"rows": 512, "cols": 512},
    )  # fmt: skip
    found = program(weight, tile).multiply(x, keys_of(64), read_seed=0).astype(np.float64)
    exact = ideal_integer(weight, tile).multiply(x, keys_of(64))
    _, lsb = quantize_weights(weight, bits, per_column=False)
    size = np.abs(x).mean(axis=1, keepdims=True) * lsb
    # A product sums 400 weights, each with an input of one code. One chip's figure has a
    # standard deviation of 1.3 % over chips.
    assert ((found - exact) / size).std() == pytest.approx(0.2 * np.sqrt(400), rel=0.05)


def test_published_errors_of_whole_weights_keep_their_share_of_the_greatest_weight() -> None:
    flash = make_tile(device={"kind": "eflash"}).device
    share = device_model(flash, 1).weight_sigma_lsb(np.ones(1))
    assert share == pytest.approx(2.2 / 128)
    afm = make_tile(device={"kind": "pcm", "profile": "afm"}).device
    grid = np.array([0.0, 1.0])
    whole = device_model(afm, 8).weight_sigma_lsb(grid) / 127
    assert whole[1] > 0.0
    np.testing.assert_allclose(device_model(afm, 1).weight_sigma_lsb(grid), whole)


@pytest.mark.parametrize("encoding", ["offset", "isaac"])
@pytest.mark.parametrize("signed", ["twos_complement", "two_phase", "shift"])
def test_folded_errors_of_one_bit_are_those_of_the_detailed_tile(
    encoding: str, signed: str
) -> None:
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 256, 64), normal(rng, 512, 256)
    tile = _one_bit(
        weight={"encoding": encoding},
        input={"signed": signed},
        crossbar={"rows": 256, "cols": 256},
        device={"kind": "gaussian", "sigma": 0.3, "sigma_unit": "cell_level",
                "read_noise": {"sigma": 0.3, "scaling": "sqrt"}},
        adc={"bits": 12, "range": {"kind": "fixed", "levels": 300.0}, "noise_lsb": 20.0},
    )  # fmt: skip
    programmed = program(weight, tile, x)
    assert programmed.folds
    exact = ideal_integer(weight, tile).multiply(x, keys_of(512)).astype(np.float64)
    detailed = programmed.multiply(x, keys_of(512), read_seed=0) - exact
    folded = programmed.multiply(x, keys_of(512), read_seed=0, mode="folded") - exact
    assert float(folded.std()) == pytest.approx(float(detailed.std()), rel=0.03)


@pytest.mark.parametrize("chip", ["isaac", "eflash_40nm"])
def test_cells_and_drivers_of_which_a_part_is_used_are_named(chip: str) -> None:
    assert unused_range(load_chip(find_chip(chip))) == ()
    one = _chip(chip, "tile.weight.bits=1", "tile.input.bits=1")
    keys = [warning.split(":")[0] for warning in unused_range(one)]
    assert keys == ["tile.device.cell_bits", "tile.dac.bits"][: 1 if chip == "isaac" else 2]
    whole = _chip(
        chip,
        "tile.weight.bits=1",
        "tile.input.bits=1",
        "tile.device.cell_bits=1",
        "tile.dac.bits=1",
    )
    assert unused_range(whole) == ()
    assert "lowest 2 of 4 levels" in unused_range(_chip("isaac", "tile.weight.bits=1"))[0]


def _chip(name: str, *overrides: str) -> ChipConfig:
    return load_chip(find_chip(name), overrides)


@pytest.mark.parametrize("encoding", ["differential", "offset", "center"])
def test_cost_assumes_the_density_that_one_bit_weights_have(encoding: str) -> None:
    chip = _chip(
        "isaac", "tile.weight.bits=1", f"tile.weight.encoding={encoding}",
        "tile.device={kind: ideal, cell_bits: 2}",
    )  # fmt: skip
    assumed = default_density(chip).mean_level_fraction
    weight = normal(np.random.default_rng(0), 128, 60)
    programmed = program(weight, chip.tile, normal(np.random.default_rng(1), 4, 128))
    assert programmed.cells.mean_fraction == pytest.approx(assumed, rel=0.02)


def test_digital_crossbars_multiply_signs_and_count_their_bits() -> None:
    rng = np.random.default_rng(3)
    tile = _one_bit(crossbar={"kind": "digital"}, device={"technology": "sram"})
    weight, x = normal(rng, 300, 20), normal(rng, 4, 300)
    adc_range = AdcRange(float("inf"))
    digital = program_matrix(weight, tile, FIRST, adc_range)
    statistics = MacStatistics()
    found = digital.multiply(x, keys_of(4), read_seed=0, statistics=statistics)
    scale = np.abs(weight).mean() * np.abs(x).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found, np.sign(x) @ np.sign(weight) * scale, rtol=1e-6)
    assert statistics.total.input_bit_density == pytest.approx(0.5, abs=0.05)
    assert statistics.total.mean_level_fraction == pytest.approx(0.5, abs=0.05)
