"""The fast tile and its slow twin agree in every conductance, ADC code and output bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.config import Tile
from cimsim.errors import CimsimError
from cimsim.mac import Writing, calibrate_range
from cimsim.mac.encode import encode
from cimsim.testing import slow_product, slow_writing
from cimsim.workload.matrix import TokenKeys
from tests.mac.helpers import MATRIX, make_tile, normal, program

DEVICES: tuple[dict[str, Any], ...] = (
    {"kind": "ideal"},
    {"kind": "gaussian", "sigma": 0.1, "sigma_unit": "cell_level"},
    {"kind": "gaussian", "sigma": 0.02, "sigma_unit": "frac_gmax", "scaling": "proportional"},
    {"kind": "gaussian", "sigma": 2.0, "sigma_unit": "weight_lsb"},
    {"kind": "pcm"},
    {"kind": "pcm", "age_s": 3600.0, "drift_compensation": "global"},
    {"kind": "pcm", "profile": "hermes_1dev", "age_s": 86400.0},
    {"kind": "reram", "profile": "milo", "on_off_ratio": 4.5},
    {"kind": "reram", "verify": {"tolerance": 0.1, "attempts": 3}},
    {"kind": "eflash"},
    {"kind": "eflash", "mean_lsb": 6.5, "gain": 0.9},
    {"kind": "eflash", "profile": "sonos_1d"},
    {"kind": "gaussian", "sigma": 1.0, "sigma_unit": "us", "drift": {"nu": 0.05}, "age_s": 100.0},
)


@st.composite
def tiles(draw: st.DrawFn) -> Tile:
    """Any tile that the configuration allows, small enough to compute slowly."""
    signed = draw(st.sampled_from(["twos_complement", "two_phase", "shift"]))
    device = dict(draw(st.sampled_from(DEVICES)))
    bits = draw(st.integers(1, 9))
    flash = device["kind"] == "eflash" and "profile" not in device
    whole = device.get("sigma_unit") == "weight_lsb" or flash
    device["cell_bits"] = min(8, bits) if whole else draw(st.integers(1, 4))
    if whole:
        bits = min(8, bits)
    if draw(st.booleans()):
        device |= {"stuck_low": 0.02, "stuck_high": 0.01}
    if draw(st.booleans()):
        scaling = draw(st.sampled_from(["constant", "sqrt", "proportional", "saturating"]))
        device["read_noise"] = {"sigma": 0.05, "scaling": scaling}
    adc: dict[str, Any] = {"kind": "isaac", "bits": draw(st.integers(3, 10))}
    adc["range"] = draw(
        st.sampled_from(
            [{"kind": "full"}, {"kind": "percentile", "percentile": 99.0},
             {"kind": "fixed", "levels": 20.0}]
        )
    )  # fmt: skip
    if draw(st.booleans()):
        adc |= {"offset_lsb": 0.3, "gain_sigma": 0.01, "inl_lsb": 0.4}
    if draw(st.booleans()):
        adc |= {"noise_lsb": 0.2, "enob": 2.8}
    if draw(st.booleans()):
        adc["curve"] = "tests_bent"
    if draw(st.booleans()):
        adc["drift"] = {
            "calibrated_for_s": 1e6, "offset_lsb_per_decade": 0.2, "gain_per_decade": 0.01,
            "offset_lsb_per_c": 0.01, "gain_per_c": 0.001, "reference_per_c": 0.001,
        }  # fmt: skip
        device["shift_level"] = draw(st.sampled_from([-0.3, 0.3]))
    stuck = draw(st.sampled_from([0.0, 0.1]))
    rows = draw(st.integers(3, 24))
    return make_tile(
        weight={
            "bits": bits,
            "encoding": draw(st.sampled_from(["differential", "offset", "isaac", "center"])),
            "scale": draw(st.sampled_from(["per_matrix", "per_column"])),
        },
        input={
            "bits": draw(st.integers(1, 8)),
            "signed": signed,
            "scale": draw(st.sampled_from(["per_token", "static"])),
        },
        dac={"bits": 1 if signed == "twos_complement" else draw(st.integers(1, 4))},
        crossbar={
            "rows": rows,
            "cols": draw(st.integers(20, 60)),
            "rows_active": draw(st.sampled_from([None, max(1, rows // 2)])),
            "stuck_columns_high": stuck,
            "stuck_columns_low": stuck,
        },
        pe={
            "subtract": draw(st.sampled_from(["analog", "digital"])),
            "accumulate_cycles": draw(st.booleans()),
            "crossbars": draw(st.integers(1, 3)),
            "supply_droop": draw(st.sampled_from([0.0, 0.1])),
        },
        adc=adc,
        device=device,
    )


def _compare(tile: Tile, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    weight = normal(rng, int(rng.integers(1, 40)), int(rng.integers(1, 9)))
    x = normal(rng, n, weight.shape[0])
    keys = TokenKeys(rng.integers(0, 2**40, n), rng.integers(0, 5000, n))
    writing = Writing(
        seed, MATRIX, copy=seed % 7, count=seed % 3, slot=seed % 5 - 1,
        temperature_c=25.0 + 20.0 * (seed % 2),
    )  # fmt: skip
    programmed = program(weight, tile, x, writing=writing)

    values = slow_writing.column_values(programmed.encoded, tile, programmed.writing)
    on_grid = np.rint(values.astype(np.float64) / programmed.cells.grid)
    np.testing.assert_array_equal(programmed.cells.values, on_grid)

    fast = programmed.codes(x, keys, read_seed=seed)
    slow = slow_product.codes(programmed, x, keys, read_seed=seed)
    np.testing.assert_array_equal(fast, slow)
    np.testing.assert_array_equal(
        programmed.multiply(x, keys, read_seed=seed),
        slow_product.multiply(programmed, x, keys, read_seed=seed),
    )


@pytest.fixture(scope="module")
def cases(scaled: Callable[[int], int]) -> int:
    return scaled(2000)


def test_codes_of_fast_path_and_twin_are_bit_equal(cases: int) -> None:
    @settings(max_examples=cases, deadline=None, derandomize=True, database=None)
    @given(tiles(), st.integers(0, 2**40), st.sampled_from(3 * [1, 3, 8, 17] + [100]))
    def check(tile: Tile, seed: int, n: int) -> None:
        _compare(tile, seed, n)

    check()


@pytest.mark.parametrize("seed", range(3))
def test_twin_agrees_on_batches_of_a_hundred(seed: int) -> None:
    tile = make_tile(
        crossbar={"rows": 16, "cols": 64},
        device={"kind": "pcm", "cell_bits": 2, "read_noise": {"sigma": 0.05, "scaling": "sqrt"}},
    )
    _compare(tile, seed, 100)


@pytest.mark.parametrize("encoding", ["differential", "offset", "isaac", "center"])
@pytest.mark.parametrize("signed", ["twos_complement", "two_phase", "shift"])
@pytest.mark.parametrize("accumulate", [False, True], ids=["cycles", "charge"])
def test_twin_agrees_on_weights_and_inputs_of_one_bit(
    encoding: str, signed: str, accumulate: bool
) -> None:
    for device in (
        {"kind": "gaussian", "sigma": 0.3, "sigma_unit": "weight_lsb"},
        {"kind": "pcm", "read_noise": {"sigma": 0.05, "scaling": "sqrt"}, "stuck_low": 0.02},
    ):
        tile = make_tile(
            weight={"bits": 1, "encoding": encoding},
            input={"bits": 1, "signed": signed, "scale": "static"},
            crossbar={"rows": 24, "cols": 40},
            pe={"accumulate_cycles": accumulate},
            device=device | {"cell_bits": 1},
            adc={"kind": "isaac", "bits": 5, "offset_lsb": 0.3, "noise_lsb": 0.2},
        )
        _compare(tile, 5, 17)


def test_sums_beyond_float32_are_exact_in_float64() -> None:
    tile = make_tile(
        weight={"bits": 16, "encoding": "offset"},
        input={"bits": 16, "signed": "shift"},
        dac={"bits": 8},
        crossbar={"rows": 512, "cols": 64},
        device={"kind": "gaussian", "sigma": 0.3, "sigma_unit": "cell_level", "cell_bits": 8},
        adc={"kind": "isaac", "bits": 16},
    )
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 400, 3), normal(rng, 2, 400)
    programmed = program(weight, tile)
    assert programmed.cells.values.dtype == np.float64
    keys = TokenKeys(np.zeros(2, np.int64), np.arange(2))
    np.testing.assert_array_equal(
        programmed.codes(x, keys, read_seed=0), slow_product.codes(programmed, x, keys, read_seed=0)
    )


def test_grid_is_the_finest_on_which_sums_are_exact() -> None:
    rng = np.random.default_rng(0)
    tile = make_tile(device={"kind": "pcm", "cell_bits": 2})
    programmed = program(normal(rng, 128, 8), tile)
    sums = np.abs(programmed.cells.values.astype(np.int64)).sum(axis=0)
    assert programmed.cells.grid == 2.0**-12
    assert sums.max() * programmed.formats.max_code <= 2**24
    wide = make_tile(
        weight={"encoding": "offset"},
        device={"kind": "pcm", "cell_bits": 4},
        crossbar={"rows": 2048},
    )
    programmed = program(normal(rng, 2048, 8), wide)
    sums = np.abs(programmed.cells.values.astype(np.int64)).sum(axis=0)
    assert 2**-12 < programmed.cells.grid <= 2**-6
    assert 2**23 < sums.max() <= 2**24


def test_cells_of_many_levels_are_kept_to_fifteen_bits() -> None:
    rng = np.random.default_rng(0)
    tile = make_tile(device={"kind": "pcm", "cell_bits": 7})
    values = program(normal(rng, 64, 8), tile).cells.values
    assert 2**14 < np.abs(values).max() < 2**15


def test_quantisation_agrees_with_twin_on_extremes() -> None:
    tile = make_tile()
    x = np.array([[0.0, 0.0], [1e-45, -1e-45], [3.4e38, -1.0], [0.5, -0.49999]], dtype=np.float32)
    programmed = program(np.eye(2, dtype=np.float32), tile)
    keys = TokenKeys(np.zeros(4, np.int64), np.arange(4))
    np.testing.assert_array_equal(
        programmed.multiply(x, keys, read_seed=0),
        slow_product.multiply(programmed, x, keys, read_seed=0),
    )


def test_encoding_of_a_matrix_that_is_not_finite_is_refused() -> None:
    weight = np.array([[1.0, np.nan]], dtype=np.float32)
    with pytest.raises(CimsimError, match="finite"):
        encode(weight, MATRIX, make_tile())
    with pytest.raises(CimsimError, match="finite"):
        calibrate_range(weight, MATRIX, make_tile())
