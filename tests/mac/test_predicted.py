"""Errors that are predicted in closed form are those that the tile makes, source by source."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cimsim.mac import calibrate_range, ideal_integer
from cimsim.mac.predict import PredictedError, predict_error
from tests.mac.helpers import FIRST, MATRIX, keys_of, make_tile, normal, program

# Codes of a hundredth of a level: no error is rounded away.
FINE: dict[str, Any] = {"kind": "isaac", "bits": 16, "range": {"kind": "fixed", "levels": 320.0}}
WIDE: dict[str, Any] = FINE | {"range": {"kind": "fixed", "levels": 2000.0}}
WHOLE: dict[str, Any] = {"kind": "isaac", "bits": 16}
NOISY = {"kind": "gaussian", "sigma": 0.1, "sigma_unit": "cell_level", "cell_bits": 2}
PCM: dict[str, Any] = {
    "device": {"kind": "pcm", "profile": "joshi", "cell_bits": 4, "age_s": 1e5,
               "drift": {"nu": 0.05, "nu_sigma": 0.02}},
    "adc": WIDE,
}  # fmt: skip


def _both(seeds: int = 12, **sections: Any) -> tuple[float, PredictedError]:
    """Observed error over some chips, and the predicted one."""
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 96, 48), normal(rng, 48, 96)
    tile = make_tile(**sections)
    adc_range = calibrate_range(weight, MATRIX, tile, x)
    exact = ideal_integer(weight, tile, adc_range=adc_range).multiply(x, keys_of(48))
    errors = [
        program(weight, tile, x, writing=replace(FIRST, chip_seed=seed), adc_range=adc_range)
        .multiply(x, keys_of(48), read_seed=seed)
        .astype(np.float64)
        - exact
        for seed in range(seeds)
    ]
    observed = float(np.sqrt(np.mean(np.square(errors)) / np.mean(exact.astype(np.float64) ** 2)))
    return observed, predict_error(weight, MATRIX, tile, x, adc_range)


@pytest.mark.parametrize("encoding", ["differential", "offset", "isaac", "center"])
@pytest.mark.parametrize(
    "source",
    [
        {"device": NOISY},
        {"device": NOISY | {"stuck_low": 0.02, "stuck_high": 0.01, "on_off_ratio": 20.0}},
        PCM,
        {"device": {"kind": "ideal", "cell_bits": 2, "read_noise": {"sigma": 0.05}}},
        {"adc": FINE | {"noise_lsb": 80.0}},
        {"adc": FINE | {"gain_sigma": 0.02, "per_pe": 2048}},
        {"adc": FINE | {"offset_lsb": 100.0, "per_pe": 2048}},
        {"adc": FINE | {"bits": 9}, "device": NOISY},
    ],
    ids=["write", "stuck", "pcm", "read", "noise", "gain", "offset", "rounding"],
)
def test_a_source_errs_as_predicted(source: dict[str, Any], encoding: str) -> None:
    sections = {"weight": {"encoding": encoding}, "adc": FINE} | source
    # All outputs of a crossbar share the errors of ISAAC's unit column: few draws per chip.
    shared = encoding == "isaac"
    observed, predicted = _both(seeds=60 if shared else 12, **sections)
    assert observed == pytest.approx(predicted.error, rel=0.12 if shared else 0.06)
    assert predicted.left_out == ()


@pytest.mark.parametrize(
    "sections",
    [
        {"weight": {"encoding": "differential"}, "pe": {"subtract": "digital"}},
        {"input": {"signed": "two_phase"}, "pe": {"accumulate_cycles": True}},
        {"input": {"signed": "shift"}, "dac": {"bits": 4}},
        {"crossbar": {"rows": 64, "cols": 64, "rows_active": 16}},
    ],
    ids=["apart", "charge", "shift", "groups"],
)
def test_formats_and_splits_err_as_predicted(sections: dict[str, Any]) -> None:
    adc = WHOLE | {"bits": 7, "noise_lsb": 0.5}
    observed, predicted = _both(device=NOISY | {"read_noise": {"sigma": 0.03}}, adc=adc, **sections)
    assert observed == pytest.approx(predicted.error, rel=0.06)


@pytest.mark.parametrize("encoding", ["offset", "isaac"])
def test_columns_that_share_a_converter_share_its_errors(encoding: str) -> None:
    adc = FINE | {"gain_sigma": 0.02, "offset_lsb": 100.0, "per_pe": 8}
    observed, predicted = _both(seeds=100, weight={"encoding": encoding}, adc=adc)
    assert observed == pytest.approx(predicted.error, rel=0.15)


def test_an_ideal_tile_is_predicted_to_make_no_error() -> None:
    observed, predicted = _both(seeds=1, adc=WHOLE)
    assert observed == 0.0
    assert predicted.error == 0.0


def test_what_has_no_term_is_named() -> None:
    adc = {"kind": "isaac", "bits": 6, "inl_lsb": 0.5, "range": {"kind": "fixed", "levels": 3.0}}
    _, predicted = _both(seeds=1, adc=adc, crossbar={"wire_ohm": 0.5})
    assert predicted.left_out == ("wires", "clipping", "integral non-linearity")


def test_rounding_that_is_not_uniform_is_named() -> None:
    _, whole = _both(seeds=1, adc=WHOLE, device=NOISY)
    assert whole.left_out == ("whole levels on whole codes",)
    coarse = WHOLE | {"bits": 4}
    _, found = _both(seeds=1, adc=coarse, weight={"encoding": "differential"})
    assert found.left_out == ("sums within a code",)
    assert not whole.uniform
    assert not found.uniform


# What is exact: errors of cells and noise of converters. Rounding is uniform only nearly.
@pytest.mark.parametrize("encoding", ["differential", "offset", "center"])
@pytest.mark.parametrize(
    "sections",
    [
        {"device": NOISY},
        {"device": NOISY | {"verify": {"tolerance": 0.1, "attempts": 4}}},
        {"device": {"kind": "ideal", "cell_bits": 2, "read_noise": {"sigma": 0.05}}},
        {
            "device": {
                "kind": "ideal",
                "cell_bits": 2,
                "read_noise": {"sigma": 0.05, "scaling": "saturating", "knee": 0.3},
            }
        },
        {"adc": FINE | {"noise_lsb": 80.0}},
    ],
    ids=["write", "verify", "read", "saturating", "noise"],
)
def test_exact_closed_forms_are_met_within_two_percent(
    sections: dict[str, Any], encoding: str
) -> None:
    """Sixty chips: the sampling error of the observed figure is below half a percent."""
    both = {"weight": {"encoding": encoding}, "adc": FINE} | sections
    observed, predicted = _both(seeds=60, **both)
    assert observed == pytest.approx(predicted.error, rel=0.02)


ALL: dict[str, Any] = {
    "device": {"kind": "gaussian", "sigma": 0.1, "sigma_unit": "cell_level", "cell_bits": 1,
               "read_noise": {"sigma": 0.2, "scaling": "sqrt"}},
    "adc": FINE | {"noise_lsb": 40.0},
}  # fmt: skip
WHOLE_WEIGHTS = {
    "device": {"kind": "gaussian", "sigma": 0.1, "sigma_unit": "weight_lsb", "cell_bits": 8}
}


@pytest.mark.parametrize("signed", ["twos_complement", "two_phase", "shift"])
@pytest.mark.parametrize("encoding", ["differential", "offset", "center"])
@pytest.mark.parametrize("bits", [(1, 8), (8, 1), (1, 1)], ids=lambda b: "{}x{}".format(*b))
def test_closed_forms_of_one_bit_are_met_within_two_percent(
    bits: tuple[int, int], encoding: str, signed: str
) -> None:
    formats = {
        "weight": {"encoding": encoding, "bits": bits[0]},
        "input": {"signed": signed, "bits": bits[1]},
    }
    observed, predicted = _both(seeds=60, **formats, **ALL)
    assert observed == pytest.approx(predicted.error, rel=0.02)


@pytest.mark.parametrize("encoding", ["differential", "offset", "isaac", "center"])
def test_errors_of_whole_weights_of_one_bit_are_met_within_two_percent(encoding: str) -> None:
    weight = {"encoding": encoding, "bits": 1}
    observed, predicted = _both(seeds=60, weight=weight, adc=FINE, **WHOLE_WEIGHTS)
    assert observed == pytest.approx(predicted.error, rel=0.02)


@pytest.mark.parametrize("encoding", ["differential", "offset", "isaac", "center"])
@pytest.mark.parametrize(
    "device",
    [
        {},
        {"sigma_lsb": 0.0},
        {"gain": 0.5, "stuck_low": 0.3},
        {"drift": {"nu": 0.05}, "age_s": 1e4, "drift_compensation": "global"},
    ],
    ids=["all", "mean", "stuck", "compensated"],
)
def test_mean_errors_of_whole_weights_are_met_within_two_percent(
    device: dict[str, Any], encoding: str
) -> None:
    """Also beside stuck cells, which take no such error, and where a digital gain raises it."""
    flash = {"kind": "eflash", "cell_bits": 8, "mean_lsb": 2.0, "gain": 0.9} | device
    wide = FINE | {"range": {"kind": "fixed", "levels": 40000.0}}
    observed, predicted = _both(seeds=60, weight={"encoding": encoding}, adc=wide, device=flash)
    shared = encoding == "isaac" and "stuck_low" in device  # a crossbar's unit column
    assert observed == pytest.approx(predicted.error, rel=0.12 if shared else 0.02)


@pytest.mark.parametrize("signed", ["twos_complement", "two_phase", "shift"])
@pytest.mark.parametrize("bits", [(1, 8), (8, 1), (1, 1)], ids=lambda b: "{}x{}".format(*b))
def test_a_unit_column_beside_one_bit_errs_as_predicted(bits: tuple[int, int], signed: str) -> None:
    formats = {
        "weight": {"encoding": "isaac", "bits": bits[0]},
        "input": {"signed": signed, "bits": bits[1]},
    }
    observed, predicted = _both(seeds=60, **formats, **ALL)
    assert observed == pytest.approx(predicted.error, rel=0.12)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_read_noise_of_accumulated_charge_is_that_of_every_cell(bits: int) -> None:
    """Charge of negative inputs is negative, its noise is not."""
    observed, predicted = _both(
        seeds=60,
        weight={"encoding": "offset"},
        input={"bits": bits},
        pe={"accumulate_cycles": True},
        device={"kind": "ideal", "read_noise": {"sigma": 0.2, "scaling": "sqrt"}},
        adc=FINE | {"range": {"kind": "fixed", "levels": 4000.0}},
    )
    assert observed == pytest.approx(predicted.error, rel=0.02)
