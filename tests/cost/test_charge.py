"""Counted actions become energy once each: rows, totals, kinds, policies and tables."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from cimsim.cost import ActionCounts, Density, Ledger
from cimsim.cost.crossbar import cell_read_fj
from cimsim.errors import CimsimInternalError
from tests.cost.chips import assemble, chip, full_counts


def charged(config: object, counts: ActionCounts, **options: object) -> Ledger:
    cost, _, _ = assemble(config)  # type: ignore[arg-type]
    ledger = Ledger()
    cost.charge(ledger, counts, None, **options)  # type: ignore[arg-type]
    return ledger


def test_ledger_totals_are_sums_of_rows() -> None:
    ledger = Ledger()
    ledger.add("adc", "decode", 10, 3.0, source="a")
    ledger.add("adc", "prefill", 1, 2.0, source="a")
    ledger.add("dram", "decode", 4, 5.0, kind="off_chip", source="b")
    ledger.add("leakage_adc", "decode", 7, 1.0, kind="leakage", source="c")
    assert ledger.total_fj() == 59
    assert ledger.total_fj(off_chip=False) == 39
    assert ledger.total_fj(phase="decode", component="adc") == 30
    assert ledger.by_kind() == {"dynamic": 32, "leakage": 7, "off_chip": 20}
    assert ledger.by_component() == {"adc": 32, "dram": 20, "leakage_adc": 7}
    assert list(ledger.frame()["energy_fj"]) == [30, 2, 20, 7]


@pytest.mark.parametrize(("count", "energy"), [(-1, 1.0), (1, -1.0), (1, float("inf"))])
def test_ledger_refuses_impossible_rows(count: float, energy: float) -> None:
    with pytest.raises(CimsimInternalError):
        Ledger().add("adc", "decode", count, energy, source="x")


def test_every_component_of_the_contract_is_charged() -> None:
    config = chip()
    _, _, units = assemble(config)
    names = set(charged(config, full_counts(units)).by_component())
    expected = (
        "adc dac crossbar sample_hold shift_add input_register output_register tile_buffer "
        "tile_bus noc_router noc_link digital_attention digital_linear softmax norm activation "
        "router_digital combine correction kv_read kv_write psum_traffic input_broadcast dram "
        "program clock leakage_tile_buffer leakage_noc_router leakage_kv_sram leakage_weight_sram"
    )
    assert names == set(expected.split())


def test_conversions_of_the_ledger_equal_those_of_the_tilings() -> None:
    config = chip()
    _, _, units = assemble(config)
    counts = full_counts(units)
    adc = next(r for r in charged(config, counts) if r.component == "adc")
    expected = sum(
        counts.unit_vectors[u.key] * sum(t.conversions_per_vector for t in u.tilings) for u in units
    )
    assert adc.count == expected


def test_cell_energy_follows_the_measured_density_of_each_unit() -> None:
    config = chip()
    cost, _, units = assemble(config)
    counts = ActionCounts("decode", 1, 1000, {units[0].key: 3, units[1].key: 5})
    density = {units[0].key: Density(0.2, 0.7), units[1].key: Density(0.4, 0.1)}
    ledger = Ledger()
    cost.charge(ledger, counts, density)
    row = next(r for r in ledger if r.component == "crossbar")
    reads = [
        sum(
            sum(t.row_blocks)
            * sum(t.physical_columns(c) for c in range(len(t.column_blocks)))
            * t.layout.cycles
            for t in u.tilings
        )
        for u in units[:2]
    ]
    expected = 3 * reads[0] * cell_read_fj(config, 0.2, 0.7)
    expected += 5 * reads[1] * cell_read_fj(config, 0.4, 0.1)
    assert row.energy_fj == pytest.approx(expected)
    assert "default" not in row.source


def test_default_densities_are_named_in_the_source() -> None:
    config = chip()
    _, _, units = assemble(config)
    row = next(r for r in charged(config, full_counts(units)) if r.component == "crossbar")
    assert f"default densities for {len(units)} of {len(units)} units" in row.source


def test_zero_activity_leaves_leakage_only() -> None:
    config = chip()
    ledger = charged(config, ActionCounts("idle", 0, 1_000_000))
    kinds = ledger.by_kind()
    assert kinds["dynamic"] == kinds["off_chip"] == 0
    assert kinds["leakage"] > 0


def test_kv_bytes_are_charged_once_on_chip_and_once_off_chip() -> None:
    config = chip()
    counts = ActionCounts(
        "decode", 1, 1000, dram_read_bytes={"kv": 100, "weights": 7}, kv_read_bytes=300
    )
    rows = [r for r in charged(config, counts) if r.kind != "leakage"]
    assert [(r.component, r.kind, r.count) for r in rows] == [
        ("kv_read", "dynamic", 200 * 8),
        ("kv_read", "off_chip", 100 * 8),
        ("dram", "off_chip", 7 * 8),
    ]


def test_kv_in_dram_is_off_chip_whether_or_not_the_engine_repeats_it() -> None:
    config = chip(memory={"kv": "dram"})
    for dram in ({}, {"kv": 300}):
        counts = ActionCounts("decode", 1, 1000, dram_read_bytes=dram, kv_read_bytes=300)
        rows = [r for r in charged(config, counts) if r.kind != "leakage"]
        assert [(r.component, r.kind, r.count) for r in rows] == [("kv_read", "off_chip", 2400)]


def test_off_chip_traffic_without_memory_is_our_bug() -> None:
    counts = ActionCounts("decode", 1, 1000, dram_read_bytes={"weights": 1})
    with pytest.raises(CimsimInternalError):
        charged(chip(memory={"kind": "none"}), counts)


def test_weight_memory_reads_are_a_row_of_digital_matrices() -> None:
    config = chip(digital={"weight_sram_kb": 64.0})
    counts = ActionCounts("decode", 1, 1000, weight_read_bytes=100)
    rows = [r for r in charged(config, counts) if r.component == "digital_linear"]
    assert [r.count for r in rows] == [800]
    assert rows[0].energy_fj_per_action == pytest.approx(math.exp(2.782 + 0.3414 * 6))


def test_given_dram_energy_wins_over_the_kind() -> None:
    config = chip(memory={"kind": "hbm2", "pj_per_bit": 7.0})
    counts = ActionCounts("decode", 1, 1000, dram_read_bytes={"weights": 10})
    assert charged(config, counts).total_fj(component="dram") == pytest.approx(80 * 7000)


@pytest.mark.parametrize(("policy", "nanoseconds"), [("gated", 300), ("clock_gated", 1000)])
def test_idle_policy_decides_for_how_long_a_buffer_leaks(policy: str, nanoseconds: int) -> None:
    config = chip(cost={"idle": {"tile": policy}})
    cost, _, _ = assemble(config)
    ledger = Ledger()
    counts = ActionCounts("decode", 1, 1_000_000, busy_ps={"tile": 300_000})
    cost.charge(ledger, counts, None, mapped_tiles=1)
    power = cost.catalogue.prices["tile_buffer"].leakage_uw
    assert power is not None
    assert ledger.total_fj(component="leakage_tile_buffer") == pytest.approx(power * nanoseconds)


def test_tiles_without_weights_do_not_leak() -> None:
    config = chip(chip={"tiles": 40})
    counts = ActionCounts("decode", 1, 1_000_000)
    few = charged(config, counts, mapped_tiles=10).total_fj(component="leakage_tile_buffer")
    all_of_them = charged(config, counts, mapped_tiles=40).total_fj(component="leakage_tile_buffer")
    assert all_of_them == pytest.approx(4 * few)


def test_clock_runs_while_busy_or_always_where_kept_on() -> None:
    counts = ActionCounts("decode", 1, 1_000_000, busy_ps={"tile": 250_000})
    gated = charged(chip(), counts, mapped_tiles=2)
    kept = charged(chip(cost={"idle": {"tile": "on"}}), counts, mapped_tiles=2)
    assert next(r for r in gated if r.component == "clock").count == 250
    assert next(r for r in kept if r.component == "clock").count == 2000


def test_table_power_is_charged_while_busy_and_replaces_model_and_leakage() -> None:
    row = {"power_mw": 4.0, "area_mm2": 0.5, "groups": 2, "source": "paper"}
    config = chip(cost={"tables": {"tile_buffer": {**row, "covers": ["tile_bus"]}}})
    _, _, units = assemble(config)
    ledger = charged(config, full_counts(units))
    # 3 us of busy tiles x 2 groups x 4 mW = 24 nJ.
    assert ledger.total_fj(component="tile_buffer") == pytest.approx(24e6)
    names = ledger.by_component()
    assert "tile_bus" not in names
    assert "leakage_tile_buffer" not in names


def test_chip_table_is_always_on_and_io_is_off_chip() -> None:
    row = {"power_mw": 10.0, "area_mm2": 1.0, "per": "chip", "source": "paper"}
    config = chip(cost={"tables": {"io": row}})
    ledger = charged(config, ActionCounts("decode", 1, 1_000_000))
    found = next(r for r in ledger if r.component == "io")
    assert (found.kind, found.energy_fj) == ("off_chip", pytest.approx(1e7))


def test_companion_blocks_say_so() -> None:
    config = chip(cost={"companion": ["digital", "memory"]})
    cost, _, units = assemble(config)
    ledger = charged(config, full_counts(units))
    for name in ("digital_attention", "softmax", "dram"):
        row = next(r for r in ledger if r.component == name)
        assert row.source.endswith("[companion, not in the published chip]")
    areas = {r.component: r.source for r in cost.area()}
    assert areas["digital_unit"].endswith("[companion, not in the published chip]")


def test_excluded_component_has_no_energy_area_or_leakage() -> None:
    config = chip(cost={"exclude": ["tile_buffer", "clock"]})
    cost, _, units = assemble(config)
    names = set(charged(config, full_counts(units)).by_component())
    assert not names & {"tile_buffer", "clock", "leakage_tile_buffer"}
    assert "tile_buffer" not in {r.component for r in cost.area()}


def test_area_is_the_sum_of_on_chip_rows() -> None:
    cost, mesh, _ = assemble(chip())
    rows = {r.component: r for r in cost.area()}
    assert cost.area_mm2() == pytest.approx(sum(r.mm2 or 0.0 for r in rows.values()))
    assert "dram" not in rows
    assert rows["tile_buffer"].count == mesh.n_tiles
    assert rows["adc"].mm2 == pytest.approx(rows["adc"].count * 1200e-6)


def test_chip_without_analog_parts_has_no_tiles_in_its_area() -> None:
    cost, _, _ = assemble(chip(chip={"analog_parts": []}))
    rows = {r.component: r for r in cost.area()}
    assert rows["crossbar"].mm2 == rows["adc"].mm2 == 0
    assert (rows["digital_unit"].mm2 or 0) > 0


def test_leakage_without_a_source_says_not_modelled() -> None:
    cost, _, _ = assemble(chip())
    powers = {r.component: r.power_uw for r in cost.leakage()}
    assert powers["crossbar"] == "not modelled"
    assert isinstance(powers["tile_buffer"], float)
    assert "leakage of crossbar" in cost.not_modelled()


@pytest.mark.parametrize(
    ("cost", "tile", "knob"),
    [
        ({"drive_ns": 1.0}, {"dac": {"kind": "pwm", "bits": 4}}, "cost.drive_ns"),
        ({"cell_cap_ff": 2.0}, {}, "cost.cell_cap_ff"),
        ({"booth": True}, {}, "cost.booth"),
        ({"overrides": {"adc": {"energy_fj": 1}}}, {"crossbar": {"kind": "digital"}}, "overrides"),
    ],
)
def test_a_knob_without_effect_is_named(
    cost: dict[str, object], tile: dict[str, object], knob: str
) -> None:
    inputs = {"input": {"signed": "shift"}}
    model, _, _ = assemble(chip(cost=cost, tile={**inputs, **tile}))
    assert any(knob in note and "no effect" in note for note in model.notes)


def test_knobs_with_effect_raise_no_warning() -> None:
    model, _, _ = assemble(chip(cost={"drive_ns": 1.0, "idle": {"noc": "gated"}}))
    assert not any("no effect" in note for note in model.notes)


def test_doubling_the_vectors_doubles_tile_energy() -> None:
    config = chip()
    _, _, units = assemble(config)
    counts = full_counts(units)
    twice = replace(counts, unit_vectors={k: 2 * n for k, n in counts.unit_vectors.items()})
    for name in ("adc", "crossbar", "dac", "shift_add"):
        before = charged(config, counts).total_fj(component=name)
        assert charged(config, twice).total_fj(component=name) == pytest.approx(2 * before)


def test_a_buffered_bit_crosses_the_bus_once() -> None:
    counts = ActionCounts("decode", 1, 1000, buffer_read_bits=100, buffer_write_bits=100)
    row = next(r for r in charged(chip(), counts) if r.component == "tile_bus")
    assert row.count == 100


def test_inputs_are_charged_for_the_wire_to_every_crossbar() -> None:
    cost, _, _ = assemble(chip(tile={"pes": 2}))
    areas = {r.component: (r.mm2 or 0.0) / r.count for r in cost.area()}
    per_tile = cost.catalogue.per_tile
    inside = ("adc", "dac", "crossbar", "sample_hold", "shift_add")
    registers = ("input_register", "output_register")
    pe_mm2 = sum(areas[n] * per_tile[n] for n in (*inside, *registers)) / 2
    assert cost.catalogue.fj("input_broadcast") == pytest.approx(120 * pe_mm2**0.5)
