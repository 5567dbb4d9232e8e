"""ADC models against hand-computed values, published points and the physics of resolution."""

from __future__ import annotations

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.config import Tile
from cimsim.cost.adc import price_adc
from cimsim.cost.adc_fits import (
    regression_pj,
    thermal_limit_fj,
    zigzag_delay_ns,
    zigzag_pj,
    zigzag_um2,
)
from cimsim.errors import CimsimError
from tests.cost.chips import chip


def adc(**fields: object) -> Tile:
    return chip(tile={"adc": fields}).tile


def test_isaac_adc_costs_2_mw_at_its_rate() -> None:
    price = price_adc(adc(kind="isaac", bits=8), 32, 0.9)
    assert price.energy_fj == pytest.approx(2.0 / 1.28 * 1e3)  # 1562.5 fJ
    assert price.area_um2 == 1200


@pytest.mark.parametrize(("bits", "factor"), [(6, 0.25), (7, 0.5), (9, 2.0), (10, 4.0)])
def test_isaac_adc_doubles_with_every_bit(bits: int, factor: float) -> None:
    price = price_adc(adc(kind="isaac", bits=bits), 32, 0.9)
    assert price.energy_fj == pytest.approx(1562.5 * factor)


@pytest.mark.parametrize(
    ("bits", "pj", "um2"),
    [(4, 0.79, 361), (5, 0.99, 477), (6, 1.20, 627), (8, 1.67, 1200), (10, 2.38, 3002)],
)
def test_sar_table_gives_its_printed_rows(bits: int, pj: float, um2: float) -> None:
    price = price_adc(adc(kind="sar_table", bits=bits), 32, 0.9)
    assert price.energy_fj == pytest.approx(pj * 1e3)
    assert price.area_um2 == pytest.approx(um2)


def test_sar_table_interpolates_log_energy_between_rows() -> None:
    price = price_adc(adc(kind="sar_table", bits=8, enob=7.5), 32, 0.9)
    assert price.energy_fj == pytest.approx((1.42 * 1.67) ** 0.5 * 1e3)


def test_zigzag_fit_by_hand() -> None:
    # (100 x 6 + 0.001 x 4096) fF x 0.64 V^2 = 386.6 fJ.
    assert zigzag_pj(6, 0.8) == pytest.approx(0.38662, rel=1e-4)
    assert zigzag_um2(6) == pytest.approx(10**0.9846 * 64)
    assert zigzag_delay_ns(6, 1024) == pytest.approx(6 * 7.32672)


def test_walden_energy_is_the_figure_of_merit_times_the_steps() -> None:
    tile = adc(kind="walden", bits=8, enob=7, fom_fj=20, area_um2=100)
    assert price_adc(tile, 22, 0.8).energy_fj == 20 * 128


def test_schreier_energy_by_hand() -> None:
    # SNDR of 8 bits is 49.9257 dB; FOM 170 dB: P / (f / 2) = 10^(-12.007) J.
    tile = adc(kind="schreier", bits=8, fom_db=170, area_um2=100)
    assert price_adc(tile, 22, 0.8).energy_fj == pytest.approx(0.5 * 10 ** (-12.00743) * 1e15)


def test_user_table_is_taken_as_given_with_its_source() -> None:
    tile = adc(kind="table", bits=8, energy_pj=1.5, area_um2=10, leakage_uw=3, source="mine")
    price = price_adc(tile, 22, 0.8)
    assert (price.energy_fj, price.area_um2, price.leakage_uw) == (1500, 10, 3)
    assert "mine" in price.source


def test_regression_splits_dynamic_and_static_energy() -> None:
    total = regression_pj(8, 32, 1.0)
    price = price_adc(adc(kind="regression", bits=8, rate_gsps=1.0), 32, 0.9)
    assert price.energy_fj == pytest.approx(0.8 * total * 1e3)
    assert price.leakage_uw == pytest.approx(0.2 * total * 1e3)


def test_regression_interpolates_log_energy_between_whole_bits() -> None:
    middle = regression_pj(8.25, 32, 1.0)
    ends = regression_pj(8, 32, 1.0), regression_pj(9, 32, 1.0)
    assert log(middle) == pytest.approx(0.75 * log(ends[0]) + 0.25 * log(ends[1]))


@pytest.mark.parametrize(("optimism", "factor"), [("best", 0.8), ("q20", 1.0), ("median", 2.7)])
def test_optimism_scales_the_surveyed_energy(optimism: str, factor: float) -> None:
    base = price_adc(adc(kind="regression", bits=8), 32, 0.9).energy_fj
    price = price_adc(adc(kind="regression", bits=8, optimism=optimism), 32, 0.9)
    assert base is not None
    assert price.energy_fj == pytest.approx(base * factor)


def test_enob_and_not_nominal_bits_sets_energy() -> None:
    lower = price_adc(adc(kind="regression", bits=10, enob=8), 32, 0.9)
    assert lower.energy_fj == price_adc(adc(kind="regression", bits=8), 32, 0.9).energy_fj


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"kind": "regression", "bits": 3}, "tile.adc.enob"),
        ({"kind": "sar_table", "bits": 3}, "tile.adc.bits"),
        ({"kind": "sar_table", "bits": 11}, "tile.adc.bits"),
    ],
)
def test_adc_outside_its_model_is_refused_with_range_and_source(
    fields: dict[str, object], key: str
) -> None:
    with pytest.raises(CimsimError) as caught:
        price_adc(adc(**fields), 32, 0.9)
    assert caught.value.key == key
    assert caught.value.allowed
    assert "(" in caught.value.allowed


@pytest.mark.parametrize(
    ("fields", "node"),
    [
        ({"kind": "regression", "bits": 8}, 3),
        ({"kind": "regression", "bits": 16}, 32),
        ({"kind": "isaac", "bits": 8}, 14),
        ({"kind": "sar_table", "bits": 8}, 65),
        ({"kind": "zigzag", "bits": 8}, 65),
    ],
)
def test_extrapolation_is_marked_in_notes_and_source(fields: dict[str, object], node: int) -> None:
    price = price_adc(adc(**fields), node, 0.9)
    assert any(n.startswith("extrapolated") for n in price.notes)
    assert "extrapolated" in price.source


@pytest.mark.parametrize(
    ("fields", "marked"),
    [
        ({"kind": "isaac", "bits": 12}, True),
        ({"kind": "zigzag", "bits": 11, "rate_gsps": 0.001}, True),
        ({"kind": "walden", "bits": 12, "fom_fj": 0.01, "area_um2": 1}, True),
        ({"kind": "walden", "bits": 8, "fom_fj": 1.0, "area_um2": 1}, False),
    ],
)
def test_values_outside_physics_or_source_are_marked(
    fields: dict[str, object], marked: bool
) -> None:
    assert bool(price_adc(adc(**fields), 32, 0.9).notes) is marked


def test_thermal_limit_by_hand() -> None:
    # 8 x 4.142e-21 J x 1.5 x 65536 = 3.257 fJ at 8 bits.
    assert thermal_limit_fj(8) == pytest.approx(3.257, rel=1e-3)


@given(st.floats(4, 13.9), st.floats(0.01, 0.99), st.floats(7, 130), st.floats(0.001, 5))
def test_regression_energy_rises_with_enob_and_node(
    enob: float, step: float, node: float, rate: float
) -> None:
    assert regression_pj(enob + step / 10, node, rate) >= regression_pj(enob, node, rate) * (
        1 - 1e-9
    )
    assert regression_pj(enob, node * 1.1, rate) > regression_pj(enob, node, rate)


@pytest.mark.parametrize("kind", ["regression", "sar_table", "isaac", "zigzag"])
def test_energy_and_area_rise_with_bits_in_every_model(kind: str) -> None:
    prices = [price_adc(adc(kind=kind, bits=b, rate_gsps=0.1), 32, 0.9) for b in range(4, 11)]
    energies = [p.energy_fj for p in prices]
    areas = [p.area_um2 for p in prices]
    assert energies == sorted(energies)
    assert areas == sorted(areas)
