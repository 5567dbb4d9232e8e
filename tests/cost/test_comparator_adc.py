"""Flash and counting converters, by hand."""

from __future__ import annotations

import pytest

from cimsim.config import Tile
from cimsim.config.load import parse_chip
from cimsim.cost.adc import price_adc
from cimsim.cost.price import Price
from cimsim.cost.technology import nominal_vdd_v, scale_logic
from cimsim.errors import CimsimError

COUNTER = {"kind": "counter", "bits": 8, "rate_gsps": 0.002, "clock_ghz": 1.0, "static_uw": 10}


def price(node: float = 90.0, vdd: float = 1.1, **adc: object) -> Price:
    return price_adc(Tile.model_validate({"adc": adc}), node, vdd)


def test_flash_decides_by_a_comparator_a_step() -> None:
    found = price(kind="flash", bits=4)
    assert found.energy_fj == pytest.approx(15 * 113)
    assert price(kind="flash", bits=1).energy_fj == pytest.approx(113)
    seven = price(7.0, 0.7, kind="flash", bits=4)
    assert seven.area_um2 == pytest.approx(1596 / 16)
    assert seven.energy_fj == pytest.approx(15 * 113 * scale_logic(90, 7, 0.7).energy)


def test_a_flash_of_many_bits_is_refused() -> None:
    with pytest.raises(CimsimError, match="511 comparators"):
        price(kind="flash", bits=9)


def test_a_counter_costs_its_time_and_its_toggles() -> None:
    volt = nominal_vdd_v(28.0)
    found = price(28.0, volt, **COUNTER)
    # 10 uW for 500 ns, and 128 counts of two flip-flops.
    assert found.energy_fj == pytest.approx(10 / 0.002 + 128 * 2 * 2.1 * 0.81)
    at_28 = 1596 / 16 / 15 * scale_logic(7, 28, volt).area
    assert found.area_um2 == pytest.approx(8 * 0.614 * 6 + at_28)


def test_a_counter_that_is_too_slow_is_refused_with_what_it_manages() -> None:
    with pytest.raises(CimsimError, match="256 periods") as caught:
        price(**{**COUNTER, "rate_gsps": 0.005})
    assert "at most 0.003906 GS/s" in caught.value.sentence()


@pytest.mark.parametrize("missing", ["clock_ghz", "static_uw"])
def test_a_counter_without_its_figures_is_refused_by_name(missing: str) -> None:
    given = ", ".join(f"{k}: {v}" for k, v in COUNTER.items() if k != missing)
    with pytest.raises(CimsimError, match="is missing") as caught:
        parse_chip(f"name: x\ntile: {{adc: {{{given}}}}}\n", "x.yaml")
    assert f"tile.adc.{missing}" in caught.value.sentence()


def test_a_counter_follows_the_supply() -> None:
    given = ", ".join(f"{k}: {v}" for k, v in COUNTER.items())
    text = f"name: x\ntechnology: {{node_nm: 28, vdd_v: 0.9}}\ntile: {{adc: {{{given}}}}}\n"
    low = parse_chip(text, "x.yaml", ("technology.vdd_v=0.8",)).tile.adc.model_dump()
    assert low["static_uw"] == pytest.approx(10 * (0.8 / 0.9) ** 2)
    assert low["clock_ghz"] / low["rate_gsps"] == pytest.approx(500)
    assert low["clock_ghz"] < 1.0
