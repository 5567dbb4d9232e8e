"""Clamped bit lines, the control of a macro and the rest of a chip, by hand."""

from __future__ import annotations

from math import log

import pytest

from cimsim.config import ChipConfig
from cimsim.config.load import bundled_chips, config_hash, load_chip, parse_chip
from cimsim.cost.peak import Peak, peak
from cimsim.cost.rest import MACRO_PARTS
from cimsim.errors import CimsimError

FLASH = """
cimsim: 2
name: flash
technology: {node_nm: 28, vdd_v: 1.0, clock_ghz: 0.1}
chip: {tiles: 1}
tile:
  pes: 1
  pe: {crossbars: 1}
  crossbar: {rows: 100, cols: 64, rows_active: 50, read_ns: 10, v_read_v: 0.5}
  weight: {bits: 4, encoding: offset}
  input: {bits: 4, signed: shift}
  dac: {kind: voltage, bits: 4}
  adc: {kind: table, bits: 7, rate_gsps: 0.1, per_pe: 64, energy_pj: 1, area_um2: 500, source: test}
  device: {kind: ideal, technology: eflash, cell_bits: 4, g_max_us: 2}
memory: {kind: none}
cost: {input_bit_density: 0.5, mean_level_fraction: 0.25, cell_area_um2: 1.0}
"""
CLAMP = "tile.crossbar.sense={kind: clamp, bias_ua: 3, off_na: 2, mirrors: 1}"


def flash(*at: str) -> ChipConfig:
    return parse_chip(FLASH, "flash.yaml", at)


def energies(found: Peak) -> dict[str, float]:
    return found.ledger.by_component()


def test_current_of_a_clamped_column_flows_from_the_supply_and_its_mirrors() -> None:
    plain, held = energies(peak(flash())), energies(peak(flash(CLAMP)))
    # (1 + 1 mirror) x 1.0 V over 0.5 V.
    assert held["crossbar"] == pytest.approx(4 * plain["crossbar"])
    integrated = energies(peak(flash("tile.crossbar.sense={kind: clamp, mirrors: 0}")))
    assert integrated["crossbar"] == pytest.approx(2 * plain["crossbar"])


def test_a_sensed_column_costs_its_line_bias_and_undriven_rows() -> None:
    found = peak(flash(CLAMP))
    # 100 cells of 0.35 fF and 1 um of 0.2 fF; 3 uA, and 50 undriven rows of 2 nA.
    line_ff = 100 * (0.35 + 0.2)
    column_fj = line_ff * 0.5**2 + 1.0 * 10 * (3 + 50 * 2e-3)
    # 64 columns, one cycle of 4 bits, two groups of rows, all crossbars of the tile.
    assert energies(found)["bit_line"] == pytest.approx(column_fj * 64 * 1 * 2)
    assert found.cost.catalogue.fj("bit_line") == pytest.approx(column_fj)


def test_a_bias_that_is_not_given_settles_the_line_to_half_a_code() -> None:
    found = peak(flash("tile.crossbar.sense={kind: clamp}"))
    line_ff = 100 * (0.35 + 0.2)
    bias_ua = 8 * log(2) * line_ff / (10 * 15)
    expected = line_ff * 0.5**2 + 1.0 * 10 * bias_ua
    assert found.cost.catalogue.fj("bit_line") == pytest.approx(expected)


def test_reference_columns_draw_the_mean_current_of_a_column() -> None:
    base = peak(flash(CLAMP)).cost.catalogue.fj("bit_line")
    more = "tile.crossbar.sense={kind: clamp, bias_ua: 3, off_na: 2, reference_columns: 0.5}"
    added = peak(flash(more)).cost.catalogue.fj("bit_line") - base
    # Half of 50 rows x 2 uS x 0.5 V x half x a quarter, from 1 V for 10 ns.
    assert added == pytest.approx(0.5 * 50 * 2 * 0.5 * 0.5 * 0.25 * 1.0 * 10)


def test_a_clamp_holds_no_line_above_the_supply() -> None:
    with pytest.raises(CimsimError, match="above the supply"):
        peak(flash(CLAMP, "tile.crossbar.v_read_v=1.2"))


def test_a_clamp_of_cells_that_draw_no_current_is_warned_of() -> None:
    found = peak(flash(CLAMP, "tile.device.technology=sram"))
    assert any("tile.crossbar.sense has no effect" in note for note in found.notes)


def test_control_is_a_share_of_its_macro() -> None:
    plain, found = peak(flash()), peak(flash("cost.scope=macro"))
    parts = sum(fj for name, fj in energies(plain).items() if name in MACRO_PARTS)
    control = energies(found)["macro_control"]
    assert control == pytest.approx(0.110 / 0.890 * parts)
    assert control / (control + parts) == pytest.approx(0.110)
    mm2 = {row.component: row.mm2 or 0.0 for row in found.cost.area()}
    macro = sum(area for name, area in mm2.items() if name in MACRO_PARTS)
    assert mm2["macro_control"] / (macro + mm2["macro_control"]) == pytest.approx(0.39)
    given = peak(flash("cost.scope=macro", "cost.control_share=0.5"))
    assert energies(given)["macro_control"] == pytest.approx(parts)


def test_a_system_draws_a_factor_of_its_macros_and_nothing_twice() -> None:
    found = energies(peak(flash("cost.scope=system", "cost.system_factor=10")))
    macro = sum(fj for name, fj in found.items() if name in MACRO_PARTS or name == "macro_control")
    leaking = sum(fj for name, fj in found.items() if name.startswith("leakage"))
    assert sum(found.values()) - leaking == pytest.approx(10 * macro)


def test_modelled_parts_above_the_factor_leave_no_rest() -> None:
    assert "system_rest" not in energies(peak(flash("cost.scope=system", "cost.system_factor=1")))


@pytest.mark.parametrize(
    ("knob", "scope"),
    [
        ("control_share=0.2", "parts"),
        ("control_area_share=0.2", "parts"),
        ("system_factor=2", "macro"),
    ],
)
def test_a_share_outside_the_scope_is_warned_of(knob: str, scope: str) -> None:
    notes = peak(flash(f"cost.{knob}", f"cost.scope={scope}")).notes
    assert any(f"cost.{knob.split('=', maxsplit=1)[0]} has no effect" in note for note in notes)


def test_bundled_chips_keep_their_identity_and_parts() -> None:
    for path in bundled_chips().values():
        plain = load_chip(path)
        assert "scope" not in plain.cost.model_dump()
        assert "sense" not in plain.tile.crossbar.model_dump()
        again = load_chip(path, ("cost.scope=parts", "tile.crossbar.sense={kind: ideal}"))
        assert config_hash(plain) == config_hash(again)
