"""Frozen errors of converters and columns, against numbers made by hand."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log10
from typing import Any

import numpy as np
import pytest

from cimsim.config.load import find_chip, load_chip
from cimsim.errors import CimsimError
from cimsim.mac import calibrate_range, knobs_without_effect, program_matrix
from cimsim.mac.cells import cell_tables
from cimsim.mac.converters import SHORTED, Converters, converters_of
from cimsim.mac.formats import formats_of
from tests.mac.helpers import FIRST, MATRIX, keys_of, make_tile, normal, program

ROWS, OUT = 300, 12
WARM = replace(FIRST, temperature_c=65.0)


def errors(writing: Any = FIRST, **sections: Any) -> Converters:
    tile = make_tile(**sections)
    found = converters_of(tile, formats_of(MATRIX, ROWS, OUT, tile), writing)
    assert found is not None
    return found


def test_a_trimmed_converter_at_its_own_temperature_has_no_error() -> None:
    drift = {"offset_lsb_per_c": 0.1, "gain_per_c": 0.01, "offset_lsb_per_decade": 1.0}
    tile = make_tile(adc={"drift": {**drift, "calibrated_c": 65.0}})
    assert converters_of(tile, formats_of(MATRIX, ROWS, OUT, tile), WARM) is None


def test_drift_is_linear_in_temperature_and_in_decades_of_time() -> None:
    def drifted(writing: Any = FIRST, **drift: float) -> Converters:
        return errors(writing, adc={"per_pe": 1024, "drift": drift})

    warm = drifted(WARM, offset_lsb_per_c=0.1, gain_per_c=0.01)
    hot = drifted(replace(FIRST, temperature_c=105.0), offset_lsb_per_c=0.1, gain_per_c=0.01)
    np.testing.assert_allclose(hot.offset, 2.0 * warm.offset, rtol=1e-6)
    np.testing.assert_allclose(hot.gain - 1.0, 2.0 * (warm.gain - 1.0), atol=1e-6)
    hour, year = 3600.0, 3.15e7
    day = drifted(calibrated_for_s=9.0 * hour, offset_lsb_per_decade=0.5)
    old = drifted(calibrated_for_s=year, offset_lsb_per_decade=0.5)
    np.testing.assert_allclose(old.offset, day.offset * log10(1.0 + year / hour), rtol=1e-5)
    # Different draws: what warmth does to a converter says nothing of what time does.
    assert abs(np.corrcoef(day.offset.ravel(), warm.offset.ravel())[0, 1]) < 0.5


def test_spreads_are_those_of_the_knobs() -> None:
    tile = make_tile(
        crossbar={"rows": 8, "cols": 256},
        adc={"per_pe": 2048, "drift": {"offset_lsb_per_c": 0.05, "gain_per_c": 0.002}},
    )
    found = converters_of(tile, formats_of(MATRIX, ROWS, 60, tile), WARM)
    assert found is not None
    assert found.offset.std() == pytest.approx(2.0, rel=0.05)
    assert (found.gain - 1.0).std() == pytest.approx(0.08, rel=0.05)


def test_the_reference_moves_all_converters_alike() -> None:
    found = errors(WARM, adc={"reference_gain": 1.5, "drift": {"reference_per_c": 0.005}})
    np.testing.assert_allclose(found.gain, 1.5 * 1.2, rtol=1e-6)
    assert not found.offset.any()


def test_a_supply_rail_droops_with_the_square_of_what_lies_beyond() -> None:
    """300 rows fill three crossbars of 128, of a PE of four: s = 1/4, 1/2 and 3/4."""
    found = errors(pe={"crossbars": 4, "supply_droop": 0.16}, crossbar={"rows": 128, "cols": 128})
    drop = 0.16 * np.array([7 / 16, 3 / 4, 15 / 16])
    np.testing.assert_allclose(found.gain[:, 0], 1.0 - drop, rtol=1e-6)


def test_stuck_columns_are_silicons_and_have_the_stated_share() -> None:
    crossbar = {"rows": 8, "cols": 256, "stuck_columns_high": 0.1, "stuck_columns_low": 0.2}
    found = errors(crossbar=crossbar)
    shorted, broken = found.offset == SHORTED, (found.gain == 0.0) & (found.offset == 0.0)
    assert shorted.mean() == pytest.approx(0.1, abs=0.02)
    assert broken.mean() == pytest.approx(0.2, abs=0.02)
    again = errors(replace(FIRST, count=3), crossbar=crossbar)
    np.testing.assert_array_equal(again.offset, found.offset)
    other = errors(replace(FIRST, copy=1), crossbar=crossbar)
    assert (other.offset != found.offset).any()
    # More stuck columns are the same ones and others.
    more = errors(crossbar=crossbar | {"stuck_columns_high": 0.15})
    assert (more.offset[shorted] == SHORTED).all()


def test_a_shorted_column_reads_the_highest_code_and_a_broken_one_none() -> None:
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 40, OUT), normal(rng, 6, 40)
    noisy: dict[str, Any] = {
        "adc": {"kind": "isaac", "bits": 6, "noise_lsb": 2.0, "offset_lsb": 0.5, "inl_lsb": 1.0}
    }
    high = program(weight, make_tile(crossbar={"stuck_columns_high": 1.0}, **noisy))
    assert (high.codes(x, keys_of(6), read_seed=0) == 31).all()
    noisy["adc"]["noise_lsb"] = 0.0
    low = program(weight, make_tile(crossbar={"stuck_columns_low": 1.0}, **noisy))
    assert not low.codes(x, keys_of(6), read_seed=0).any()
    assert not low.multiply(x, keys_of(6), read_seed=0).any()


def test_a_fold_keeps_what_stuck_columns_and_droop_do() -> None:
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 128, 24), normal(rng, 64, 128)
    tile = make_tile(
        crossbar={"stuck_columns_high": 0.05, "stuck_columns_low": 0.05},
        pe={"supply_droop": 0.1}, adc={"bits": 10, "reference_gain": 0.9},
    )  # fmt: skip
    programmed = program(weight, tile)
    assert programmed.folds
    found, folded = (
        programmed.multiply(x, keys_of(64), read_seed=0, mode=mode)
        for mode in ("detailed", "folded")
    )
    # Both draw their rounding; what is frozen is common to them.
    wrong = [(y - x @ weight).ravel() for y in (found, folded)]
    assert np.corrcoef(*wrong)[0, 1] > 0.9
    assert np.abs(wrong[0] - wrong[1]).mean() < 0.4 * np.abs(wrong[0]).mean()


def test_a_range_chosen_cold_clips_when_the_cells_are_hot() -> None:
    """A threshold that falls by 1 mV/C is a gain of exp(55 / (1.5 x 30.43)) at 80 C."""
    device = {"kind": "eflash", "cell_bits": 8, "sigma_lsb": 0.0, "threshold_mv_per_c": -1.0}
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 100, 8), normal(rng, 32, 100)

    def clipped(calibrated_c: float) -> float:
        tile = make_tile(
            device=device, input={"signed": "two_phase"}, dac={"bits": 7},
            adc={"bits": 8, "range": {"kind": "percentile", "percentile": 99.9},
                 "drift": {"calibrated_c": calibrated_c}},
        )  # fmt: skip
        tables = cell_tables(tile, 1, 0.0, 80.0)
        gain = exp(55.0 / (1.5 * 0.08617333 * 353.15))
        expected = gain if calibrated_c == 25.0 else 1.0
        assert tables.temperature_factor == pytest.approx(expected, rel=1e-6)
        hot = program(weight, tile, x, writing=replace(FIRST, temperature_c=80.0))
        codes = hot.codes(x, keys_of(32), read_seed=0)
        return float((np.abs(codes) >= 127).mean())

    assert clipped(80.0) < 0.01
    assert clipped(25.0) > 0.15


def test_a_mean_shift_of_cells_cancels_in_pairs_and_not_in_single_cells() -> None:
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 100, 8), normal(rng, 32, 100)
    found = {}
    for encoding in ("differential", "offset"):
        tile = make_tile(
            weight={"encoding": encoding}, input={"signed": "two_phase"}, dac={"bits": 7},
            adc={"bits": 16}, device={"kind": "ideal", "cell_bits": 8, "shift_level": 3.0},
        )  # fmt: skip
        programmed = program(weight, tile)
        y = programmed.multiply(x, keys_of(32), read_seed=0)
        found[encoding] = y - x @ weight
    assert np.abs(found["differential"]).max() < 0.3
    # 3 levels of a weight LSB each, on every row: the sum of the inputs.
    lsb = np.abs(weight).max() / 127
    np.testing.assert_allclose(found["offset"][:, 0], 3.0 * lsb * x.sum(1), atol=0.3)


def test_more_than_the_range_is_refused() -> None:
    rng = np.random.default_rng(0)
    weight = normal(rng, 40, OUT)
    for sections, key in (
        ({"adc": {"bits": 4, "offset_lsb": 20.0}}, "tile.adc.offset_lsb"),
        ({"adc": {"bits": 4, "drift": {"offset_lsb_per_c": 1.0}}}, "tile.adc.drift"),
        ({"adc": {"drift": {"reference_per_c": -0.03}}}, "tile.adc.drift.reference_per_c"),
        (
            {"crossbar": {"stuck_columns_high": 0.6, "stuck_columns_low": 0.6}},
            "tile.crossbar.stuck_columns_low",
        ),
    ):
        tile = make_tile(**sections)
        with pytest.raises(CimsimError) as caught:
            program_matrix(weight, tile, WARM, calibrate_range(weight, MATRIX, tile))
        assert caught.value.key == key


def test_drift_without_warmth_or_time_is_named() -> None:
    quiet = (
        "tile.adc.drift.offset_lsb_per_c=0.1", "tile.adc.drift.gain_per_decade=0.01",
        "tile.device.temperature.shift_level_per_c=0.1",
    )  # fmt: skip
    found = knobs_without_effect(load_chip(find_chip("isaac"), quiet))
    assert sorted(line.split()[0] for line in found) == [
        "tile.adc.drift.gain_per_decade",
        "tile.adc.drift.offset_lsb_per_c",
        "tile.device.temperature.shift_level_per_c",
    ]
    warm = (*quiet, "technology.temperature_c=60", "tile.adc.drift.calibrated_for_s=1e6")
    assert knobs_without_effect(load_chip(find_chip("isaac"), warm)) == ()
