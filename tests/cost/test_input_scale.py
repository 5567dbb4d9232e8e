"""What finding scales of inputs and dividing by them costs: counts, energies and clocks by hand."""

from __future__ import annotations

import pytest

from cimsim.chip import Unit, UnitKey, tile_matrix
from cimsim.config import ChipConfig
from cimsim.config.load import config_hash, find_chip, load_chip
from cimsim.cost.buffers import sram
from cimsim.cost.catalogue import price_chip
from cimsim.cost.digital import element_fj, mac8_pj
from cimsim.cost.input_scale import price_input_scale, scaled_elements, scaler_ps
from cimsim.cost.technology import scale_logic
from cimsim.cost.timing import visit_timing
from cimsim.cost.without_effect import knobs_without_effect
from cimsim.engine import EngineResult, simulate
from cimsim.workload.matrix import Matrix, MatrixId
from tests.cost.chips import chip
from tests.engine.chips import FakeCost, make_config, make_system

USES = ("input_maximum", "input_reciprocal", "input_scaling")


def scaled(scale: str, **sections: dict[str, object]) -> ChipConfig:
    return chip(tile={"input": {"scale": scale}}, cost={"input_scale": "charged"}, **sections)


def run(scale: str, charged: str = "charged", **chip: object) -> EngineResult:
    """One token after another through two layers of 64 features, two experts of 64 each."""
    config = make_config(
        tile={"pes": 2, "pe": {"crossbars": 4}, "crossbar": {"rows": 64, "cols": 256},
              "input": {"scale": scale}},
        cost={"input_scale": charged}, memory={"kind": "none"}, chip=chip,
    )  # fmt: skip
    system = make_system(
        config=config, cost=FakeCost(element_ps=1000, interval_ps=1000), sequences=1, length=1
    )
    return simulate(system, system.trace, phase="decode", batch=1, engine="simpy")


@pytest.mark.parametrize(
    ("scale", "maxima", "reciprocals", "products"),
    # A layer: qkv, o, router with gates and ups, and the downs of two experts: 5 vectors of 64.
    [("per_token", 640, 10, 640), ("per_channel", None, None, 640), ("static", None, None, None)],
)
def test_every_vector_is_scaled_once_for_all_that_take_it(
    scale: str, maxima: int | None, reciprocals: int | None, products: int | None
) -> None:
    counts = run(scale, analog_parts=["attention", "router", "experts"]).counts.digital_elements
    assert [counts.get(use) for use in USES] == [maxima, reciprocals, products]


@pytest.mark.parametrize(
    ("parts", "vectors"),
    # Experts behind a digital router; a router before digital experts; attention alone.
    [(["experts"], 3), (["router"], 1), (["attention"], 2)],
)
def test_digital_products_take_no_codes(parts: list[str], vectors: int) -> None:
    counts = run("per_token", analog_parts=parts).counts.digital_elements
    assert counts["input_scaling"] == counts["input_maximum"] == 2 * 64 * vectors
    assert counts["input_reciprocal"] == 2 * vectors


def test_digital_units_take_time_for_it() -> None:
    free, charged = (run("per_token", c).latency_ps[0] for c in ("free", "charged"))
    # qkv, o and router of two layers: 64 maxima, a reciprocal and 64 products each, 1 ns each.
    assert charged - free == 2 * 3 * (64 + 1 + 64) * 1000


def test_nothing_is_counted_unless_it_is_charged() -> None:
    counts = run("per_token", "free").counts.digital_elements
    assert not set(USES) & set(counts)
    assert scaled_elements(chip(), 64) == {}
    assert scaler_ps(chip(), 64) == (0, 0)
    assert price_input_scale(chip()) is None
    assert "input_scale" not in price_chip(chip(), 5).prices


def test_an_input_costs_a_compare_or_a_read_and_a_product() -> None:
    token, channel = scaled("per_token"), scaled("per_channel")
    at40 = scale_logic(40.0, 32.0, token.technology.vdd_v).energy
    at32 = scale_logic(32.0, 32.0, token.technology.vdd_v).energy
    product_fj = 4 * mac8_pj(token) * 1e3  # 16 x 16 bits
    assert element_fj(token, "input_maximum") == pytest.approx(29.0 * at40)
    assert element_fj(token, "input_reciprocal") == pytest.approx(260 / 1.2 * at32)
    assert element_fj(token, "input_scaling") == pytest.approx(product_fj)
    assert price_chip(token, 5).fj("input_scale") == pytest.approx(product_fj + 29.0 * at40)
    # 8 crossbars of a PE have 128 rows each, two bytes a row.
    memory = sram(8 * 128 * 2 / 1024, 32.0, channel.technology.vdd_v)
    read_fj = 16 * memory.read_fj
    assert element_fj(channel, "input_scaling") == pytest.approx(product_fj + read_fj)
    assert price_chip(channel, 5).fj("input_scale") == pytest.approx(product_fj + read_fj)


def test_a_tile_has_a_scaler_that_keeps_up_with_its_reads() -> None:
    at40 = scale_logic(40.0, 32.0, chip().technology.vdd_v).area
    multiplier_um2, comparator_um2 = 6350.0 / 4, 71.0
    found = price_chip(scaled("per_token"), 5)
    # 1,024 rows of a PE in eight reads of 100 ns, at 1 or 1.2 GHz: two a clock.
    area_um2 = 2 * (multiplier_um2 + comparator_um2) * at40
    assert found.prices["input_scale"].area_um2 == pytest.approx(area_um2)
    assert found.per_tile["input_scale"] == 1
    assert found.tile_um2 - price_chip(chip(), 5).tile_um2 == pytest.approx(area_um2)
    memory = sram(8 * 128 * 2 / 1024, 32.0, chip().technology.vdd_v)
    other = price_chip(scaled("per_channel"), 5).prices["input_scale"]
    assert other.area_um2 == pytest.approx(2 * multiplier_um2 * at40 + memory.area_um2)
    assert other.leakage_uw == memory.leakage_uw
    # Lanes of digital units compare too.
    units = [price_chip(c, 5).prices["digital_unit"] for c in (scaled("per_token"), chip())]
    more_um2 = units[0].area_um2 - units[1].area_um2
    assert more_um2 == pytest.approx(64 * comparator_um2 * at40)


def test_a_down_waits_for_the_maximum_of_what_gate_and_up_give() -> None:
    config = {s: scaled(s) for s in ("per_token", "per_channel", "static")}
    shapes = (("gate", 128, 1000), ("up", 128, 1000), ("down", 1000, 128))
    timing = {}
    for scale, each in config.items():
        tilings = [tile_matrix(Matrix(MatrixId(0, r, 0), i, o), each.tile) for r, i, o in shapes]
        timing[scale] = visit_timing(each, Unit(UnitKey(0, "experts", 0), tuple(tilings)))
    clock = 1000.0 / config["static"].technology.clock_ghz
    plain = timing["static"]
    # A tree over two lanes, the reciprocal, and 1000 products two at a time.
    token = timing["per_token"].latency_ps - plain.latency_ps
    assert token == pytest.approx((1 + 1 + 500) * clock)
    assert timing["per_channel"].latency_ps - plain.latency_ps == pytest.approx(clock)
    assert timing["per_token"].interval_ps == plain.interval_ps  # reads take longer
    assert scaler_ps(config["per_token"], 1000)[1] == pytest.approx(500 * clock)
    # What is longer than a tile's rows is scaled by several.
    assert scaler_ps(config["per_token"], 5000)[1] == pytest.approx(512 * clock)


def test_a_scaler_is_wider_where_tiles_are_faster() -> None:
    def area_um2(read_ns: float) -> float:
        tile = {"crossbar": {"read_ns": read_ns}, "input": {"scale": "per_token"}}
        config = chip(tile=tile, cost={"input_scale": "charged"}, technology={"clock_ghz": 1.0})
        return price_chip(config, 5).prices["input_scale"].area_um2 or 0.0

    # 1,024 rows in 8 x 100, 8 x 10 and 8 x 1 ns at 1 GHz: 2, 13 and 128 lanes.
    slow, fast, fastest = (area_um2(ns) for ns in (100, 10, 1))
    assert fast == pytest.approx(slow * 13 / 2)
    assert fastest == pytest.approx(slow * 128 / 2)


def test_the_identity_of_chips_stays_and_pointless_knobs_are_named() -> None:
    file = find_chip("isaac")
    assert "input_scale" not in load_chip(file).cost.model_dump()
    plain = config_hash(load_chip(file))
    assert config_hash(load_chip(file, ("cost.input_scale=free",))) == plain
    assert config_hash(load_chip(file, ("cost.input_scale=charged",))) != plain
    said = knobs_without_effect(
        load_chip(file, ("cost.input_scale=charged", "tile.input.scale=static"))
    )
    assert any("cost.input_scale has no effect" in sentence for sentence in said)
    override = ("cost.overrides={input_scale: {energy_fj: 9}}",)
    said = knobs_without_effect(load_chip(file, override))
    assert any("the chip has no input_scale" in sentence for sentence in said)
    config = load_chip(file, (*override, "cost.input_scale=charged"))
    assert price_chip(config, 5).fj("input_scale") == 9.0
