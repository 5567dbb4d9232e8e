"""Supply and temperature: times by the alpha-power law, energies by the square, leakages."""

from __future__ import annotations

from math import exp
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.config import ChipConfig
from cimsim.config.load import bundled_chips, config_hash, find_chip, load_chip, parse_chip
from cimsim.config.open_chip import open_chip
from cimsim.config.supply import LAW, alpha_power, slowdown
from cimsim.cost.peak import peak
from cimsim.cost.supply import leakage_factor
from cimsim.errors import CimsimError

MACRO = """
cimsim: 2
name: macro
technology: {node_nm: 65, vdd_v: 1.2, clock_ghz: 0.1}
chip: {tiles: 1}
tile:
  crossbar: {rows: 128, cols: 128, read_ns: 10, v_read_v: 1.2}
  input: {signed: two_phase}
  adc: {kind: table, bits: 8, rate_gsps: 0.1, per_pe: 8, energy_pj: 2, area_um2: 900,
        leakage_uw: 50, source: test}
  device: {kind: ideal, technology: sram, cell_bits: 1}
memory: {kind: none}
cost:
  overrides:
    sample_hold: {energy_fj: 4}
    shift_add: {energy_fj: 30, at_vdd_v: 1.0}
  tables: {control: {power_mw: 3, area_mm2: 0.1, source: test}}
"""
# By hand, 65 nm: alpha 1.18, Vth 0.485 V.
SLOW = (0.9 / (0.9 - 0.485) ** 1.18) / (1.2 / (1.2 - 0.485) ** 1.18)


def test_a_gate_is_slower_at_a_lower_supply_by_the_alpha_power_law() -> None:
    assert slowdown(65, 1.2, 0.9) == pytest.approx(SLOW)
    assert pytest.approx(1.4251, abs=1e-4) == SLOW
    assert slowdown(65, 0.9, 1.2) == pytest.approx(1 / SLOW)


@pytest.mark.parametrize(
    ("node", "coefficients", "nominal"),
    [
        (65, (-53.3, 230.4, -333.9, 178.6), 1.1),
        (16, (0.0, 24.8, -47.52, 28.87), 0.8),
        (7, (-28.58, 76.6, -70.26, 24.69), 0.7),
    ],
)
def test_the_law_is_within_5_percent_of_the_published_polynomials(
    node: float, coefficients: tuple[float, ...], nominal: float
) -> None:
    def published(volt: float) -> float:
        a, b, c, d = coefficients
        return a * volt**3 + b * volt**2 + c * volt + d

    law = LAW[node]
    for step in range(11):
        volt = law.least_v + (law.most_v - law.least_v) * step / 10
        there = published(volt) / published(nominal)
        assert slowdown(node, nominal, volt) == pytest.approx(there, rel=0.05)


@settings(deadline=None, derandomize=True)
@given(node=st.floats(5, 150), low=st.floats(0, 1), high=st.floats(0, 1))
def test_more_supply_is_never_slower(node: float, low: float, high: float) -> None:
    law = alpha_power(node)
    volts = [law.least_v + share * (law.most_v - law.least_v) for share in (low, high)]
    assert slowdown(node, min(volts), max(volts)) <= 1 + 1e-12


def test_a_supply_chosen_from_outside_moves_every_typed_number() -> None:
    here, there = (parse_chip(MACRO, "macro.yaml", at) for at in ((), ("technology.vdd_v=0.9",)))
    square = (0.9 / 1.2) ** 2
    assert there.technology.typed_at_vdd_v is None  # what is resolved holds at its supply
    assert there.technology.clock_ghz == pytest.approx(0.1 / SLOW)
    assert there.digital.clock_ghz == pytest.approx(here.digital.clock_ghz / SLOW)
    assert there.noc.clock_ghz == pytest.approx(here.noc.clock_ghz / SLOW)
    assert there.tile.crossbar.read_ns == pytest.approx(10 * SLOW)
    assert there.tile.crossbar.v_read_v == 0.9  # it was the supply
    assert there.tile.adc.rate_gsps == pytest.approx(0.1 / SLOW)
    assert there.tile.adc.model_dump()["energy_pj"] == pytest.approx(2 * square)
    assert there.cost.overrides["sample_hold"].energy_fj == pytest.approx(4 * square)
    assert there.cost.overrides["shift_add"].energy_fj == 30  # it says where it holds
    assert there.cost.tables["control"].power_mw == pytest.approx(3 * square / SLOW)
    assert there.cost.leakage_at_vdd_v == 1.2


def test_a_table_row_costs_the_square_an_operation() -> None:
    def control_fj(*at: str) -> float:
        return peak(parse_chip(MACRO, "macro.yaml", at)).ledger.total_fj(component="control")

    square = (0.9 / 1.2) ** 2
    assert control_fj("technology.vdd_v=0.9") == pytest.approx(control_fj() * square, rel=1e-3)


def test_two_moves_are_one() -> None:
    once = parse_chip(MACRO, "macro.yaml", ("technology.vdd_v=0.8",))
    twice = open_chip(
        parse_chip(MACRO, "m.yaml", ("technology.vdd_v=1.0",)), ("technology.vdd_v=0.8",)
    )
    assert twice.tile.crossbar.read_ns == pytest.approx(once.tile.crossbar.read_ns)
    assert twice.technology.clock_ghz == pytest.approx(once.technology.clock_ghz)
    assert twice.cost.leakage_at_vdd_v == 1.2
    assert leakage_factor(twice) == pytest.approx(leakage_factor(once))


def test_a_read_voltage_of_its_own_and_memory_off_the_chip_do_not_move() -> None:
    found = load_chip(find_chip("isaac"), ("technology.vdd_v=0.8",))
    plain = load_chip(find_chip("isaac"))
    assert found.tile.crossbar.v_read_v == plain.tile.crossbar.v_read_v
    assert found.memory == plain.memory
    assert found.system == plain.system


def test_bundled_chips_keep_their_identity() -> None:
    for name, path in bundled_chips().items():
        plain = load_chip(path)
        volt = plain.technology.vdd_v
        again = load_chip(path, (f"technology.typed_at_vdd_v={volt}", f"technology.vdd_v={volt}"))
        assert config_hash(again) == config_hash(plain), name
        assert "typed_at_vdd_v" not in plain.technology.model_dump()
        if plain.technology.temperature_c == 25.0:
            assert leakage_factor(plain) == 1.0


def test_a_file_that_extends_another_keeps_the_supply_of_its_numbers(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(MACRO)
    for text, held in (("", 1.2), (", node_nm: 28", None)):
        path = tmp_path / "child.yaml"
        path.write_text(f"extends: base.yaml\ntechnology: {{vdd_v: 0.9{text}}}\n")
        assert load_chip(path).cost.leakage_at_vdd_v == held


@pytest.mark.parametrize("name", ["neurram", "isaac"])
def test_a_supply_outside_the_law_is_refused(name: str) -> None:
    with pytest.raises(CimsimError, match="at which no delay is known") as caught:
        load_chip(find_chip(name), ("technology.vdd_v=1.7",))
    assert "allowed: " in caught.value.sentence()


def test_a_number_that_would_leave_its_bounds_is_named() -> None:
    with pytest.raises(CimsimError, match="at this supply") as caught:
        parse_chip(MACRO, "m.yaml", ("digital.clock_ghz=10", "technology.vdd_v=1.3"))
    assert "digital.clock_ghz" in caught.value.sentence()


def current(volt: float, celsius: float) -> float:
    kelvin = celsius + 273.15
    channel = 1.1432e-12 * kelvin**2 * exp((466.4029 * volt - 1224.74083) / kelvin)
    return channel + 1.0126e-14 * exp(6.28153 * volt + 6.9094)


def test_leakage_gives_the_currents_that_its_paper_fitted() -> None:
    # uA at 100, 80 and 60 C and 0.95 V, and at 1.05 V.
    for volt, microamperes in ((0.95, (23.44, 19.44, 16.00)), (1.05, (29.56, 25.14, 21.33))):
        for celsius, found in zip((100, 80, 60), microamperes, strict=True):
            assert 995.7996 * 1e6 * current(volt, celsius) == pytest.approx(found, rel=0.01)


def test_leakage_follows_supply_and_temperature() -> None:
    hot = parse_chip(MACRO, "m.yaml", ("technology.temperature_c=85",))
    assert leakage_factor(hot) == pytest.approx(current(1.2, 85) / current(1.2, 25))
    low = parse_chip(MACRO, "m.yaml", ("technology.vdd_v=0.9",))
    expected = 0.9 * current(0.9, 25) / (1.2 * current(1.2, 25))
    assert leakage_factor(low) == pytest.approx(expected)

    def leaks(config: ChipConfig) -> float:
        return peak(config).ledger.by_kind()["leakage"]

    plain = parse_chip(MACRO, "m.yaml")
    assert leaks(hot) == pytest.approx(leaks(plain) * leakage_factor(hot), rel=1e-9)
    assert any("leakages x" in note for note in peak(hot).notes)


def test_a_sweep_of_the_supply_trades_efficiency_against_speed() -> None:
    found = [
        peak(parse_chip(MACRO, "m.yaml", (f"technology.vdd_v={v}",))) for v in (0.8, 0.9, 1.0, 1.2)
    ]
    efficiency, density = [p.tops_per_w for p in found], [p.tops_per_mm2 for p in found]
    assert efficiency == sorted(efficiency, reverse=True)
    assert density == sorted(density)
