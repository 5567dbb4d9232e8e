"""What users rely on: independence of order, frozen patterns, knobs that act, named errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cimsim.errors import CimsimError
from cimsim.mac import (
    AdcRange,
    MacStatistics,
    Writing,
    calibrate_range,
    ideal_integer,
    program_matrix,
)
from cimsim.workload.matrix import MatrixId, TokenKeys
from tests.mac.helpers import FIRST, MATRIX, keys_of, make_tile, normal, program

NOISY: dict[str, Any] = {
    "weight": {"encoding": "offset"},
    "crossbar": {"rows": 48, "cols": 64},
    "device": {"kind": "pcm", "cell_bits": 2, "read_noise": {"sigma": 0.03, "scaling": "sqrt"}},
    "adc": {"kind": "isaac", "bits": 8, "noise_lsb": 0.1, "offset_lsb": 0.2},
}


@pytest.mark.parametrize("mode", ["detailed", "folded"])
def test_products_do_not_depend_on_batch_split_order_or_threads(mode: str) -> None:
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 130, 40), normal(rng, 100, 130)
    programmed = program(weight, make_tile(**NOISY))
    keys = TokenKeys(rng.integers(0, 9, 100), rng.permutation(100))
    whole = programmed.multiply(x, keys, read_seed=3, mode=mode)
    for size in (1, 3, 17):
        parts = [
            programmed.multiply(
                x[i : i + size], keys.take(np.arange(i, min(i + size, 100))), read_seed=3, mode=mode
            )
            for i in range(0, 100, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    order = rng.permutation(100)
    shuffled = programmed.multiply(x[order], keys.take(order), read_seed=3, mode=mode)
    np.testing.assert_array_equal(shuffled, whole[order])
    with ThreadPoolExecutor(4) as pool:
        runs = pool.map(lambda _: programmed.multiply(x, keys, read_seed=3, mode=mode), range(8))
        for run in runs:
            np.testing.assert_array_equal(run, whole)


def test_chunks_of_a_large_batch_make_no_difference() -> None:
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 200, 300), normal(rng, 700, 200)
    programmed = program(weight, make_tile(**NOISY))
    whole = programmed.multiply(x, keys_of(700), read_seed=0)
    last = programmed.multiply(x[650:], keys_of(700).take(np.arange(650, 700)), read_seed=0)
    np.testing.assert_array_equal(whole[650:], last)


def test_frozen_noise_is_keyed_by_seed_matrix_copy_and_count() -> None:
    weight = normal(np.random.default_rng(0), 40, 12)
    tile = make_tile(**NOISY)
    first = Writing(1, MATRIX, copy=5, count=2)
    base, again = (program(weight, tile, writing=first).cells.values for _ in range(2))
    np.testing.assert_array_equal(base, again)
    changes: list[dict[str, Any]] = [
        {"chip_seed": 2}, {"copy": 6}, {"count": 3}, {"matrix": MatrixId(1, "up", 3)},
        {"matrix": MatrixId(2, "gate", 3)}, {"matrix": MatrixId(1, "gate", 4)},
    ]  # fmt: skip
    for change in changes:
        found = program(weight, tile, writing=replace(first, **change)).cells.values
        errors = [(v - np.rint(v * 2**-12) * 2**12).ravel() for v in (base, found)]
        assert abs(np.corrcoef(errors[0], errors[1])[0, 1]) < 0.15, change


def test_read_noise_is_keyed_by_seed_matrix_replica_and_token() -> None:
    rng = np.random.default_rng(0)
    weight, one = normal(rng, 40, 12), normal(rng, 1, 40)
    tile = make_tile(**NOISY)
    found_range = calibrate_range(weight, MATRIX, tile)

    def product(matrix=MATRIX, seed=0, replica=0, sequence=0, position=0):
        writing = Writing(0, matrix)
        programmed = program_matrix(weight, tile, writing, found_range)
        keys = TokenKeys(np.array([sequence]), np.array([position]))
        return programmed.multiply(one, keys, read_seed=seed, replica=replica)

    base = product()
    np.testing.assert_array_equal(base, product())
    changes: list[dict[str, Any]] = [
        {"seed": 1}, {"replica": 1}, {"sequence": 1}, {"position": 1},
        {"matrix": MatrixId(1, "up", 3)}, {"matrix": MatrixId(2, "gate", 3)},
        {"matrix": MatrixId(1, "gate", -1)},
    ]  # fmt: skip
    for change in changes:
        assert not np.array_equal(base, product(**change)), change


KNOBS: list[dict[str, Any]] = [
    {"weight": {"bits": 7}},
    {"weight": {"bits": 1}},
    {"input": {"bits": 1}},
    {"weight": {"encoding": "isaac"}},
    {"weight": {"scale": "per_column"}},
    {"input": {"bits": 7}},
    {"input": {"signed": "two_phase"}},
    {"input": {"scale": "static"}},
    {"dac": {"bits": 2}, "input": {"signed": "shift"}},
    {"crossbar": {"rows": 20}},
    {"crossbar": {"rows_active": 10}},
    {"crossbar": {"wire_ohm": 2.0}},
    {"pe": {"accumulate_cycles": True}},
    {"adc": {"bits": 7}},
    {"adc": {"enob": 5.0}},
    {"adc": {"bits": 6, "range": {"kind": "percentile", "percentile": 90.0}}},
    {"adc": {"range": {"kind": "fixed", "levels": 60.0}}},
    {"adc": {"offset_lsb": 1.0}},
    {"adc": {"gain_sigma": 0.05}},
    {"adc": {"inl_lsb": 1.0}},
    {"adc": {"reference_gain": 1.1}},
    {"adc": {"drift": {"calibrated_c": 40.0, "gain_per_c": 0.001}}},
    {"adc": {"drift": {"offset_lsb_per_c": 0.05}}},
    {"adc": {"drift": {"gain_per_c": 0.001}}},
    {"adc": {"drift": {"reference_per_c": 0.005}}},
    {"adc": {"drift": {"calibrated_for_s": 1e6, "offset_lsb_per_decade": 0.5}}},
    {"adc": {"drift": {"calibrated_for_s": 1e6, "gain_per_decade": 0.02}}},
    {"pe": {"supply_droop": 0.2}},
    {"crossbar": {"stuck_columns_high": 0.1}},
    {"crossbar": {"stuck_columns_low": 0.1}},
    {"device": {"shift_level": 0.1}},
    {"device": {"temperature": {"shift_level_per_c": 0.01}}},
    {"adc": {"noise_lsb": 1.0}},
    {"adc": {"per_pe": 3, "offset_lsb": 0.2}, "pe": {"crossbars": 1}},
    {"device": {"cell_bits": 4}},
    {"device": {"profile": "joshi"}},
    {"device": {"on_off_ratio": 20.0}},
    {"device": {"age_s": 1e4}},
    {"device": {"age_s": 1e4, "drift_compensation": "global"}},
    {"device": {"verify": {"tolerance": 0.02}}},
    {"device": {"verify": {"tolerance": 0.02, "attempts": 2}}},
    {"device": {"stuck_low": 0.05}},
    {"device": {"stuck_high": 0.05}},
    {"device": {"read_noise": {"sigma": 0.1, "scaling": "sqrt"}}},
    {"device": {"read_noise": {"sigma": 0.03, "scaling": "proportional"}}},
    {"device": {"read_noise": {"sigma": 0.03, "scaling": "saturating"}}},
    {"device": {"read_noise": {"sigma": 0.03, "scaling": "saturating", "knee": 0.5}}},
    {"device": {"read_noise": {"sigma": 0.03, "sigma_unit": "us"}}},
    {"device": {"read_noise": {"sigma": 0.03, "sigma_unit": "frac_gmax"}}},
    {"device": {"temperature": {"sigma_per_c": 0.01}}},
    {"device": {"temperature": {"read_noise_per_c": 0.01}}},
    {"device": {"temperature": {"conductance_per_c": -0.005}}},
    {"device": {"g_max_us": 50.0, "read_noise": {"sigma": 0.03, "sigma_unit": "us"}}},
]


def _merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


@pytest.mark.parametrize("change", KNOBS, ids=str)
def test_every_knob_changes_the_output(change: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 60, 12), normal(rng, 4, 60)

    def product(sections: dict[str, Any]) -> np.ndarray:
        tile = make_tile(**sections)
        programmed = program(weight, tile, x, writing=replace(FIRST, temperature_c=60.0))
        return programmed.multiply(x, keys_of(4), read_seed=0)

    assert not np.array_equal(product(NOISY), product(_merged(NOISY, change)))


FOLDING: list[dict[str, Any]] = [
    {"device": {"kind": "gaussian", "sigma": 0.15, "sigma_unit": "cell_level"}},
    {"device": {"kind": "pcm", "age_s": 3600.0, "drift_compensation": "global"}},
    {"device": {"kind": "eflash", "cell_bits": 8}, "dac": {"bits": 7},
     "weight": {"encoding": "differential"}, "input": {"signed": "two_phase"}},
    {"device": {"kind": "gaussian", "sigma": 0.15, "sigma_unit": "cell_level",
                "read_noise": {"sigma": 0.1, "scaling": "sqrt"}}},
    {"device": {"kind": "reram"}, "pe": {"accumulate_cycles": True},
     "weight": {"encoding": "differential"}, "adc": {"bits": 10}},
    {"device": {"kind": "reram"}, "adc": {"offset_lsb": 1.0, "gain_sigma": 0.02, "noise_lsb": 0.5}},
    {"device": {"kind": "gaussian", "sigma": 0.3, "sigma_unit": "cell_level"},
     "weight": {"encoding": "isaac"}},
]  # fmt: skip


@pytest.mark.parametrize("sections", FOLDING, ids=str)
def test_folded_errors_are_those_of_the_detailed_tile(sections: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 256, 64), normal(rng, 512, 256)
    base = {"weight": {"encoding": "offset"}, "adc": {"kind": "isaac", "bits": 8}}
    tile = make_tile(**_merged(base, sections))
    programmed = program(weight, tile)
    assert programmed.folds
    exact = ideal_integer(weight, tile).multiply(x, keys_of(512)).astype(np.float64)
    detailed = programmed.multiply(x, keys_of(512), read_seed=0) - exact
    folded = programmed.multiply(x, keys_of(512), read_seed=0, mode="folded") - exact
    spread = float(detailed.std())
    assert float(folded.std()) == pytest.approx(spread, rel=0.06)
    assert float(folded.mean()) == pytest.approx(float(detailed.mean()), abs=0.05 * spread)


def test_a_folded_form_that_was_freed_is_made_again_with_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 128, 16), normal(rng, 8, 128)
    programmed = program(weight, make_tile(**FOLDING[0]), x)
    first = programmed.multiply(x, keys_of(8), read_seed=0, mode="folded")
    programmed.forget_folded()
    assert "folded" not in vars(programmed)
    again = programmed.multiply(x, keys_of(8), read_seed=0, mode="folded")
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(
    "sections",
    [
        {"adc": {"kind": "isaac", "bits": 8, "range": {"kind": "fixed", "levels": 30.0}}},
        {"adc": {"kind": "isaac", "bits": 8, "inl_lsb": 0.5}},
        {"device": {"kind": "eflash", "profile": "sonos_0d"}, "adc": {"kind": "isaac", "bits": 12}},
        {"device": {"kind": "ideal", "read_noise": {"sigma": 0.02}},
         "adc": {"kind": "isaac", "bits": 12}},
        {"device": {"kind": "eflash", "cell_bits": 8}, "adc": {"kind": "isaac", "bits": 5}},
    ],
)  # fmt: skip
def test_a_tile_that_does_not_fold_is_computed_in_detail(sections: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 128, 16), normal(rng, 8, 128)
    programmed = program(weight, make_tile(**sections), x)
    assert not programmed.folds
    np.testing.assert_array_equal(
        programmed.multiply(x, keys_of(8), read_seed=0, mode="folded"),
        programmed.multiply(x, keys_of(8), read_seed=0),
    )


def test_statistics_count_conversions_clips_and_density() -> None:
    weight = np.ones((4, 2), dtype=np.float32)
    x = np.ones((3, 4), dtype=np.float32)
    tile = make_tile(
        weight={"bits": 2, "encoding": "offset"},  # stored level 1 + 2 = 3
        input={"bits": 3},  # X = 3: bits 1, 1, 0
        device={"kind": "ideal", "cell_bits": 2},
        adc={"kind": "isaac", "bits": 3},  # sums 12, 12, 0; range 12
    )
    statistics = MacStatistics()
    program(weight, tile).multiply(x, keys_of(3), read_seed=0, statistics=statistics)
    counts = statistics.counts[MATRIX]
    assert (counts.vectors, counts.conversions, counts.clipped) == (3, 3 * 3 * 2, 0)
    assert counts.input_bit_density == pytest.approx(2 / 3)
    assert counts.mean_level_fraction == pytest.approx(1.0)
    narrow = program(weight, tile, adc_range=AdcRange(8.0))
    statistics = MacStatistics()
    narrow.multiply(x, keys_of(3), read_seed=0, statistics=statistics)
    assert statistics.clip_rate == pytest.approx(2 / 3)
    twice = MacStatistics()
    twice.merge(statistics)
    twice.merge(statistics)
    assert twice.total.vectors == 6
    assert twice.clip_rate == statistics.clip_rate
    assert MacStatistics().clip_rate is None  # nothing was converted


def test_percentile_range_holds_its_share_of_the_sums() -> None:
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 128, 32), normal(rng, 100, 128)
    tile = make_tile(
        adc={"kind": "isaac", "bits": 5, "range": {"kind": "percentile", "percentile": 99.0}}
    )
    found = calibrate_range(weight, MATRIX, tile, x)
    statistics = MacStatistics()
    program(weight, tile, adc_range=found).multiply(
        x, keys_of(100), read_seed=0, statistics=statistics
    )
    assert found.clip_rate is not None
    assert 0.0 < found.clip_rate <= 0.01
    assert statistics.clip_rate == pytest.approx(found.clip_rate, rel=0.3)


def test_isaac_flips_halve_the_range() -> None:
    weight = np.full((128, 2), 1.0, dtype=np.float32)
    tile = make_tile(weight={"encoding": "isaac"}, device={"kind": "ideal", "cell_bits": 2})
    assert calibrate_range(weight, MATRIX, tile).top_levels == 192.0
    plain = make_tile(weight={"encoding": "offset"}, device={"kind": "ideal", "cell_bits": 2})
    assert calibrate_range(weight, MATRIX, plain).top_levels == 384.0


BAD: list[tuple[dict[str, Any], str]] = [
    ({"dac": {"bits": 2}}, "tile.dac.bits"),
    ({"adc": {"kind": "isaac", "bits": 1}}, "tile.adc.bits"),
    ({"crossbar": {"cols": 4}}, "tile.crossbar.cols"),
    ({"input": {"scale": "static"}}, "tile.input.scale"),
    ({"adc": {"kind": "isaac", "range": {"kind": "percentile"}}}, "tile.adc.range"),
]


@pytest.mark.parametrize(("sections", "key"), BAD)
def test_tiles_that_make_no_sense_are_refused_by_name(sections, key) -> None:
    with pytest.raises(CimsimError) as caught:
        program(np.ones((4, 4), np.float32), make_tile(**sections))
    assert caught.value.key == key


def test_bad_inputs_are_refused_or_defined() -> None:
    programmed = program(np.ones((4, 2), np.float32), make_tile())
    empty = programmed.multiply(np.zeros((0, 4), np.float32), keys_of(0), read_seed=0)
    assert empty.shape == (0, 2)
    zero = programmed.multiply(np.zeros((2, 4), np.float32), keys_of(2), read_seed=0)
    np.testing.assert_array_equal(zero, 0.0)
    for value in (np.nan, np.inf, -np.inf):
        x = np.array([[0, 1, value, 2]], dtype=np.float32)
        with pytest.raises(CimsimError, match="finite"):
            programmed.multiply(x, keys_of(1), read_seed=0)
    with pytest.raises(CimsimError, match="fit"):
        programmed.multiply(np.zeros((2, 5), np.float32), keys_of(2), read_seed=0)
    with pytest.raises(CimsimError, match="address"):
        programmed.multiply(np.zeros((2, 4), np.float32), keys_of(3), read_seed=0)


def test_bad_matrices_are_refused() -> None:
    tile = make_tile()
    for weight in (np.zeros((0, 4), np.float32), np.zeros(4, np.float32)):
        with pytest.raises(CimsimError):
            calibrate_range(weight, MATRIX, tile)
    ones = np.ones((4, 4), np.float32)
    found = calibrate_range(ones, MATRIX, tile)
    with pytest.raises(CimsimError, match="bytes"):
        program_matrix(ones, tile, FIRST, found, memory_limit_bytes=100)
    with pytest.raises(CimsimError, match="clips everything"):
        program(ones, tile, adc_range=AdcRange(0.0))
    with pytest.raises(CimsimError, match="age"):
        program(ones, tile, writing=replace(FIRST, age_s=-1.0))


def test_a_matrix_of_zeros_gives_zeros() -> None:
    programmed = program(np.zeros((4, 2), np.float32), make_tile())
    np.testing.assert_array_equal(
        programmed.multiply(np.ones((1, 4), np.float32), keys_of(1), read_seed=0), 0.0
    )


def test_wires_beyond_the_first_order_model_are_refused() -> None:
    weight = normal(np.random.default_rng(0), 48, 8)
    with pytest.raises(CimsimError, match=r"tile\.crossbar\.wire_ohm"):
        program(
            weight, make_tile(**{**NOISY, "crossbar": {"rows": 48, "cols": 64, "wire_ohm": 2000.0}})
        )
