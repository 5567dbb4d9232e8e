"""What one conversion for all slices of a weight costs, by hand."""

from __future__ import annotations

import pytest

from cimsim.config.load import bundled_chips, config_hash, load_chip, parse_chip
from cimsim.cost.peak import Peak, peak

MACRO = """
cimsim: 2
name: macro
technology: {node_nm: 28, vdd_v: 0.9, clock_ghz: 0.1}
chip: {tiles: 1}
tile:
  pes: 1
  pe: {crossbars: 1}
  crossbar: {rows: 64, cols: 64, read_ns: 10, v_read_v: 0.9}
  weight: {bits: 4, encoding: offset}
  input: {bits: 4, signed: shift}
  dac: {kind: voltage, bits: 4}
  adc: {kind: table, bits: 7, rate_gsps: 0.1, per_pe: 64, energy_pj: 1, area_um2: 500, source: test}
  device: {kind: ideal, technology: sram, cell_bits: 1}
memory: {kind: none}
"""


def macro(*at: str) -> Peak:
    return peak(parse_chip(MACRO, "macro.yaml", at))


def test_conversions_fall_by_the_slices_and_area_stays() -> None:
    plain, found = macro(), macro("tile.pe.merge={kind: binary}")
    assert plain.conversions == 64
    assert found.conversions == 16
    for part in ("adc", "sample_hold", "shift_add"):
        assert found.ledger.total_fj(component=part) == pytest.approx(
            plain.ledger.total_fj(component=part) / 4
        )
    assert found.ledger.total_fj(component="crossbar") == plain.ledger.total_fj(
        component="crossbar"
    )
    assert found.areas_mm2("crossbar") == plain.areas_mm2("crossbar")
    assert found.tops_per_w > plain.tops_per_w


@pytest.mark.parametrize(("kind", "units"), [("binary", 1 + 2 + 4 + 8), ("c2c", 3 * 3 + 1)])
def test_a_merge_charges_its_capacitors(kind: str, units: int) -> None:
    found = macro(f"tile.pe.merge={{kind: {kind}, unit_ff: 2}}")
    each_fj = units * 2 * 0.9**2
    assert found.cost.catalogue.fj("merge") == pytest.approx(each_fj)
    assert found.ledger.total_fj(component="merge") == pytest.approx(16 * each_fj)
    assert found.areas_mm2("merge") == pytest.approx(16 * units * 2 / 2.0 * 1e-6)


def test_fewer_conversions_take_less_time() -> None:
    slow, fast = (macro("tile.adc.per_pe=8", *at) for at in ((), ("tile.pe.merge={kind: c2c}",)))
    # 8 conversions of 10 ns in turn, or 2.
    assert slow.timing.interval_ps == 80_000
    assert fast.timing.interval_ps == 20_000


def test_bundled_chips_keep_their_identity() -> None:
    for path in bundled_chips().values():
        plain = load_chip(path)
        assert "merge" not in plain.tile.pe.model_dump()
        assert config_hash(load_chip(path, ("tile.pe.merge={kind: none}",))) == config_hash(plain)
