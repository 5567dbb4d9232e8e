"""What the cost model does not know: classes of constants, draws, rankings that survive."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest

from cimsim.config.load import find_chip, load_chip
from cimsim.cost import Constant
from cimsim.cost.uncertainty import (
    DRAWS,
    SIGMA,
    Unsure,
    class_of,
    derive_sigma,
    factors,
    governing,
)
from cimsim.cost.validation import CheckResult, load_checks, run_checks
from cimsim.results import number_of
from cimsim.stages.compare import compare_chips
from cimsim.stages.cost_spread import Spread, interval, spread_of
from cimsim.stages.rankings import rankings
from cimsim.stages.scale import fit_shape
from cimsim.workload.shapes import build_shape
from tests.cost.test_compare import chip
from tests.small_shape import SMALL_SHAPE

ISAAC = load_chip(find_chip("isaac"))


def result(kind: str, error: float | None) -> CheckResult:
    check = replace(load_checks()[0], kind=kind)
    return CheckResult(check, 1.0, error, "passed", None, {})


def test_deviations_are_those_of_published_figures_by_class() -> None:
    found = derive_sigma(
        [
            result("identity", 0.1),
            result("fitted", -0.1),
            result("predicted_family", 0.25),
            result("not_modelled", None),
        ]
    )
    # Root mean square of ln 1.1 = 0.09531 and ln 0.9 = -0.10536; ln 1.25 = 0.22314 is the
    # largest error of all, which assumed constants take while nothing is predicted from scratch.
    assert found["sourced"] == pytest.approx(0.10046, rel=1e-4)
    assert found["scaled"] == pytest.approx(0.22314, rel=1e-4)
    assert found["assumed"] == found["scaled"]
    more = derive_sigma([result("identity", 0.5), result("predicted", 0.2)] * 2
                        + [result("fitted", 0.0), result("predicted_family", 0.0)])  # fmt: skip
    assert more["assumed"] == pytest.approx(log(1.2))


def test_the_deviations_in_use_are_derived_from_today_s_published_figures() -> None:
    assert derive_sigma(run_checks()) == pytest.approx(dict(SIGMA), abs=0.02)


def constant(key: str, confidence: str, node: float | None) -> Constant:
    return Constant(key, 1.0, "pJ", "paper", node, confidence)  # type: ignore[arg-type]


def test_a_constant_is_sourced_at_its_node_scaled_elsewhere_and_assumed_if_recalled() -> None:
    known, recalled = constant("a.energy", "A", 32.0), constant("a.energy", "C", 32.0)
    assert [class_of(known, n) for n in (32.0, 22.0)] == ["sourced", "scaled"]
    assert class_of(constant("a.energy", "B", None), 22.0) == "sourced"
    assert class_of(recalled, 32.0) == "assumed"


def test_a_price_moves_with_the_least_sure_constant_of_its_quantity() -> None:
    constants = (
        constant("p.energy", "A", 32.0),
        constant("p.step", "D", None),
        constant("p.area", "C", 32.0),
        constant("p.leakage", "A", 40.0),
    )
    at = [governing(constants, q, 32.0, "own") for q in ("energy", "area", "leakage")]
    assert at == [
        Unsure("p.step", "assumed"), Unsure("p.area", "assumed"), Unsure("p.leakage", "scaled"),
    ]  # fmt: skip
    assert governing(constants[2:], "energy", 32.0, "own") == Unsure("own", "sourced")


def test_the_same_constant_moves_alike_in_every_class() -> None:
    one, other = factors(Unsure("a", "assumed")), factors(Unsure("a", "scaled"))
    assert np.log(one) / np.log(other) == pytest.approx(SIGMA["assumed"] / SIGMA["scaled"])
    assert np.log(one).std() == pytest.approx(SIGMA["assumed"], rel=0.06)
    assert abs(np.corrcoef(one, factors(Unsure("b", "assumed")))[0, 1]) < 0.08


def test_energy_of_a_component_moves_with_its_price_and_leakage_with_time_too() -> None:
    cost = fit_shape(ISAAC, build_shape(SMALL_SHAPE)).cost
    found = spread_of(cost, {"energy_adc_nj": 100.0}, "memory channels")
    adc = factors(Unsure("adc.isaac_power", "assumed"))
    assert found.energy_nj == pytest.approx(100 * adc)
    leaks = spread_of(cost, {"energy_leakage_tile_buffer_nj": 10.0}, "memory channels")
    buffer = factors(Unsure("buffer.edram_leakage", "sourced"))
    assert leaks.energy_nj == pytest.approx(10 * buffer * leaks.time)
    # The sum over leakage and the total are no parts.
    sums = {"energy_leakage_nj": 10.0, "energy_per_token_nj": 5.0}
    assert not spread_of(cost, sums, "memory channels").energy_nj.any()
    low, high = interval(found.area_mm2)
    assert low < cost.area_mm2() < high


def test_a_shared_constant_decides_no_ranking_and_an_own_one_may() -> None:
    shared = factors(Unsure("s", "assumed"))
    flat = np.ones(DRAWS)
    a = chip("a", area=100.0, power=1.0, energy_nj=1000.0)
    b = chip("b", area=100.0, power=1.0, energy_nj=1010.0)
    together = {n: Spread(e * shared, flat, flat) for n, e in (("a", 1000.0), ("b", 1010.0))}
    energy = rankings([[a, b]], together, "area")[0]
    assert (energy.better, energy.share, energy.survives) == ("a", 1.0, True)
    own = together | {"b": Spread(1010.0 * factors(Unsure("t", "assumed")), flat, flat)}
    apart = rankings([[a, b]], own, "area")[0]
    assert 0.4 < apart.share < 0.6
    assert not apart.survives


def test_ties_are_half_a_draw_and_what_was_made_equal_is_not_ranked() -> None:
    flat = np.ones(DRAWS)
    chips = [chip(n, area=100.0, power=1.0, energy_nj=1000.0) for n in "ab"]
    found = rankings([chips], {n: Spread(1000 * flat, flat, flat) for n in "ab"}, "power")
    assert {r.figure for r in found} == {"energy_per_token_nj", "tokens_per_s", "area_mm2"}
    assert {r.share for r in found} == {0.5}


def test_draws_follow_figures_to_another_node() -> None:
    old = chip("old", area=100.0, power=1.0, energy_nj=1000.0, node_nm=65.0)
    other = chip("other", area=100.0, power=1.0, energy_nj=900.0)
    flat = np.ones(DRAWS)
    spreads = {"old": Spread(1000 * flat, 100 * flat, flat),
               "other": Spread(900 * flat, 100 * flat, flat)}  # fmt: skip
    found = compare_chips([old, other], "area", node_nm=32.0, spreads=spreads)
    moved = found.systems[0]
    assert moved.spread is not None
    energy = number_of(moved.chip.scale, "energy_per_token_nj")
    assert moved.spread.energy_nj == pytest.approx(energy * flat)
    assert {r.survives for r in found.rankings} == {True}
