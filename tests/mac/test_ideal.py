"""With everything ideal and a converter that loses nothing, the tile is an integer product."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cimsim.chip import tile_matrix
from cimsim.mac import MacStatistics, ideal_integer
from cimsim.workload.matrix import Matrix
from tests.mac.helpers import FIRST, MATRIX, keys_of, make_tile, normal, program


def _random_tile(rng: np.random.Generator):
    signed = rng.choice(["twos_complement", "two_phase", "shift"])
    rows = int(rng.integers(4, 80))
    return make_tile(
        weight={
            "bits": int(rng.integers(1, 11)),
            "encoding": rng.choice(["differential", "offset", "isaac", "center"]),
            "scale": rng.choice(["per_matrix", "per_column"]),
        },
        input={"bits": int(rng.integers(1, 11)), "signed": signed},
        dac={"bits": 1 if signed == "twos_complement" else int(rng.integers(1, 5))},
        crossbar={
            "rows": rows,
            "cols": int(rng.integers(40, 160)),
            "rows_active": rng.choice([None, int(rng.integers(1, rows + 1))]),
        },
        pe={"subtract": rng.choice(["analog", "digital"])},
        device={"kind": "ideal", "cell_bits": int(rng.integers(1, 6))},
        adc={"kind": "isaac", "bits": 16},
    )


def test_lossless_tile_equals_exact_integer_product_in_both_modes(
    scaled: Callable[[int], int],
) -> None:
    rng = np.random.default_rng(1)
    for _ in range(scaled(500)):
        tile = _random_tile(rng)
        n = int(rng.choice([1, 3, 8, 17]))
        weight = normal(rng, int(rng.integers(1, 150)), int(rng.integers(1, 40)))
        x = normal(rng, n, weight.shape[0])
        statistics = MacStatistics()
        programmed = program(weight, tile)
        assert programmed.step_levels == 1.0
        found = programmed.multiply(x, keys_of(n), read_seed=0, statistics=statistics)
        exact = ideal_integer(weight, tile).multiply(x, keys_of(n))
        np.testing.assert_array_equal(found, exact)
        folded = programmed.multiply(x, keys_of(n), read_seed=0, mode="folded")
        np.testing.assert_array_equal(folded, exact)
        tiling = tile_matrix(Matrix(MATRIX, *weight.shape), tile)
        assert statistics.conversions == n * tiling.conversions_per_vector
        assert statistics.total.clipped == 0


@pytest.mark.parametrize("bits", [(1, 8), (8, 1), (1, 1)], ids=lambda b: "{}x{}".format(*b))
@pytest.mark.parametrize("encoding", ["differential", "offset", "isaac", "center"])
@pytest.mark.parametrize("signed", ["twos_complement", "two_phase", "shift"])
@pytest.mark.parametrize("accumulate", [False, True], ids=["cycles", "charge"])
def test_one_bit_products_are_exact_in_every_format(
    bits: tuple[int, int], encoding: str, signed: str, accumulate: bool
) -> None:
    rng = np.random.default_rng(7)
    weight, x = normal(rng, 70, 9), normal(rng, 5, 70)
    weight[:, 0] = np.abs(weight[:, 0])  # a column of one sign
    weight[:, 1] = 0.0
    x[0], x[1] = 0.0, np.abs(x[1])
    for cell_bits, subtract in ((1, "analog"), (3, "digital")):
        tile = make_tile(
            weight={"bits": bits[0], "encoding": encoding, "scale": "per_column"},
            input={"bits": bits[1], "signed": signed},
            crossbar={"rows": 32, "cols": 64, "rows_active": 20},
            pe={"subtract": subtract, "accumulate_cycles": accumulate},
            device={"kind": "ideal", "cell_bits": cell_bits},
            adc={"kind": "isaac", "bits": 16},
        )
        programmed = program(weight, tile)
        w, scale = _integers(weight, bits[0], axis=0)
        q, size = _integers(x, bits[1], axis=1)
        expected = np.float32((q @ w) * (size.astype(np.float64) * scale.astype(np.float64)))
        np.testing.assert_array_equal(ideal_integer(weight, tile).multiply(x, keys_of(5)), expected)
        statistics = MacStatistics()
        found = programmed.multiply(x, keys_of(5), read_seed=0, statistics=statistics)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(
            programmed.multiply(x, keys_of(5), read_seed=0, mode="folded"), expected
        )
        tiling = tile_matrix(Matrix(MATRIX, *weight.shape), tile)
        assert statistics.conversions == 5 * tiling.conversions_per_vector


def _integers(values: np.ndarray, bits: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The number format in a few lines: integers and the scale of each line."""
    size = np.abs(values)
    if bits == 1:
        mean = size.astype(np.float64).cumsum(axis=axis).take([-1], axis=axis) / size.shape[axis]
        return np.where(values >= 0, 1, -1), mean.astype(np.float32)
    top = 2 ** (bits - 1) - 1
    scale = (size.max(axis=axis, keepdims=True) / np.float32(top)).astype(np.float32)
    scale[scale == 0] = 1.0
    return np.rint(values / scale).astype(np.int64), scale


def test_exact_product_is_that_of_the_quantised_integers() -> None:
    weight = np.array([[1.0, -0.5], [0.25, 0.0]], dtype=np.float32)
    x = np.array([[2.0, -1.0]], dtype=np.float32)
    tile = make_tile()
    # W_q = rint(127 w), X = rint(63.5 x): 127 x [127, -64] + -64 x [32, 0]
    found = ideal_integer(weight, tile).multiply(x, keys_of(1))
    expected = np.array([[127 * 127 - 64 * 32, -127 * 64]]) * (2 / 127) * (1 / 127)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("encoding", ["differential", "offset", "isaac", "center"])
def test_charge_accumulation_makes_one_conversion_a_vector(encoding: str) -> None:
    rng = np.random.default_rng(2)
    tile = make_tile(
        weight={"bits": 4, "encoding": encoding},
        input={"bits": 4},
        pe={"accumulate_cycles": True},
        adc={"kind": "isaac", "bits": 16},
    )
    weight, x = normal(rng, 40, 7), normal(rng, 3, 40)
    statistics = MacStatistics()
    found = program(weight, tile).multiply(x, keys_of(3), read_seed=0, statistics=statistics)
    np.testing.assert_array_equal(found, ideal_integer(weight, tile).multiply(x, keys_of(3)))
    tiling = tile_matrix(Matrix(MATRIX, 40, 7), tile)
    assert statistics.conversions == 3 * tiling.conversions_per_vector


def test_digital_crossbars_are_exact_and_convert_nothing() -> None:
    from cimsim.mac import calibrate_range, program_matrix

    rng = np.random.default_rng(3)
    tile = make_tile(crossbar={"kind": "digital"}, device={"kind": "ideal", "technology": "sram"})
    weight, x = normal(rng, 300, 20), normal(rng, 4, 300)
    digital = program_matrix(weight, tile, FIRST, calibrate_range(weight, MATRIX, tile))
    statistics = MacStatistics()
    found = digital.multiply(x, keys_of(4), read_seed=0, statistics=statistics)
    np.testing.assert_array_equal(found, ideal_integer(weight, tile).multiply(x, keys_of(4)))
    assert statistics.conversions == 0
    assert 0.3 < statistics.total.input_bit_density < 0.7
