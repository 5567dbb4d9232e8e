"""Properties that hold on any valid chip: exact sums, sane costs, shares, monotone sweeps."""

from __future__ import annotations

from collections.abc import Callable
from math import fsum, isfinite
from time import perf_counter
from typing import Any

import numpy as np
import pytest

from cimsim.config import ChipConfig
from cimsim.cost import COMPONENTS, Ledger
from cimsim.workload.program import Program
from tests.cost.chips import assemble, chip, full_counts, small_program

_CELLS = {"reram": (1, 4), "pcm": (2, 8), "eflash": (4, 8), "sram": (1, 1)}


def draw_chip(seed: int) -> ChipConfig:
    """Draw a valid chip: any technology, converter, format, network and memory."""
    rng = np.random.default_rng(seed)

    def pick(*options: Any) -> Any:
        return options[int(rng.integers(len(options)))]

    technology = pick(*_CELLS)
    digital = technology == "sram" and bool(rng.integers(2))
    dac_bits = pick(1, 2, 4)
    weight_bits = pick(4, 8, 16)
    adc_bits = int(rng.integers(4, 11))
    adc: dict[str, Any] = {
        "kind": pick("regression", "sar_table", "isaac", "zigzag", "walden", "schreier", "table"),
        "bits": adc_bits,
        "rate_gsps": float(10 ** rng.uniform(-3, 0.3)),
        "per_pe": pick(1, 4, 8, 64),
    }
    if adc["kind"] in {"walden", "schreier", "table"}:
        adc["area_um2"] = 500.0
    if adc["kind"] == "table":
        adc |= {"energy_pj": 1.0, "leakage_uw": pick(None, 2.0), "source": "drawn"}
    low, high = _CELLS[technology]
    return chip(
        technology={"node_nm": pick(7, 14, 22, 28, 32, 40, 65, 130), "vdd_v": pick(0.7, 0.9, 1.1)},
        tile={
            "pes": pick(1, 4, 12),
            "pe": {
                "crossbars": pick(1, 2, 8),
                "sample_hold": pick("double", "single"),
                "subtract": pick("analog", "digital"),
                "accumulate_cycles": bool(rng.integers(2)),
            },
            "crossbar": {
                "kind": "digital" if digital else "analog",
                "rows": pick(32, 128, 512),
                "cols": pick(64, 128, 512),
                "rows_active": pick(None, 16, 64),
                "read_ns": float(10 ** rng.uniform(0, 3)),
                "v_read_v": pick(0.1, 0.2, 0.8),
            },
            "weight": {
                "bits": weight_bits,
                "encoding": pick("differential", "offset", "isaac", "center"),
            },
            "input": {"bits": 8, "signed": "twos_complement" if dac_bits == 1 else "shift"},
            "dac": {"kind": pick("voltage", "pwm"), "bits": dac_bits},
            "adc": adc,
            "device": {
                "kind": "ideal",
                "technology": technology,
                "cell_bits": int(rng.integers(low, high + 1)),
                "g_max_us": float(10 ** rng.uniform(-1, 3)),
                "on_off_ratio": pick(None, 10.0),
            },
            "buffers": {"kind": pick("sram", "edram"), "size_kb": pick(1.0, 64.0, 2048.0)},
        },
        noc={"kind": pick("mesh", "torus", "cmesh"), "flit_bits": pick(32, 128)},
        memory={"kind": pick("lpddr4", "hbm2", "hbm3"), "kv": pick("on_chip", "dram")},
        cost={
            "drive_ns": pick(None, 1.0),
            "idle": {k: pick("gated", "clock_gated", "on") for k in ("tile", "adc", "digital")},
        },
    )


def charge(config: ChipConfig, program: Program | None = None) -> Ledger:
    cost, _, units = assemble(config, program)
    ledger = Ledger()
    cost.charge(ledger, full_counts(units), None)
    return ledger


def test_breakdown_equals_total_and_costs_are_sane(scaled: Callable[[int], int]) -> None:
    for seed in range(scaled(1000)):
        config = draw_chip(seed)
        cost, _, units = assemble(config)
        ledger = charge(config)
        total = ledger.total_fj()
        for parts in (ledger.by_component(), ledger.by_kind()):
            assert abs(fsum(parts.values()) / total - 1) < 1e-12, config
        assert abs(float(ledger.frame()["energy_fj"].sum()) / total - 1) < 1e-12
        assert all(isfinite(r.energy_fj) and r.energy_fj >= 0 for r in ledger), config
        assert all(isfinite(r.mm2) and r.mm2 >= 0 for r in cost.area() if r.mm2 is not None)
        for unit in units[:4]:
            timing = cost.visit_timing(unit)
            assert timing.interval_ps > 0
            assert timing.fill_ps >= 0 or timing.latency_ps >= timing.interval_ps
            assert cost.programming_ps(unit) > 0


def test_doubling_a_unit_cost_moves_the_total_by_exactly_its_share(
    scaled: Callable[[int], int],
) -> None:
    for seed in range(scaled(1000)):
        config = draw_chip(seed)
        name = tuple(COMPONENTS)[seed % len(COMPONENTS)]
        if name in {"io", "digital_unit", "kv_sram", "weight_sram"}:
            continue
        base = charge(config)
        override = {name: {"energy_scale": 2.0}}
        doubled = charge(
            config.model_copy(
                update={
                    "cost": config.cost.model_validate(
                        {**config.cost.model_dump(), "overrides": override}
                    )
                }
            )
        )
        # Keys and values in DRAM are priced by the memory, whatever row they stand in.
        if name == "dram":
            own = base.by_kind()["off_chip"]
        elif name in {"kv_read", "kv_write"}:
            own = fsum(r.energy_fj for r in base if r.component == name and r.kind == "dynamic")
        else:
            own = base.total_fj(component=name)
        moved = doubled.total_fj() - base.total_fj()
        assert moved == pytest.approx(own, rel=1e-9, abs=1e-12 * base.total_fj()), (seed, name)


def test_every_adc_kind_and_technology_is_drawn() -> None:
    drawn = [draw_chip(s) for s in range(100)]
    assert {c.tile.adc.kind for c in drawn} == {
        "regression",
        "sar_table",
        "isaac",
        "zigzag",
        "walden",
        "schreier",
        "table",
    }
    assert {c.tile.device.technology for c in drawn} == set(_CELLS)


def sweep(knob: str, values: tuple[int, ...], **fixed: Any) -> list[ChipConfig]:
    chips = []
    for value in values:
        tile: dict[str, Any] = {
            "crossbar": {"rows": 128, "cols": 128, "read_ns": 50},
            "weight": {"bits": 8, "encoding": "offset"},
            "adc": {"kind": "regression", "bits": 8, "rate_gsps": 0.5, "per_pe": 8},
            "device": {"kind": "ideal", "cell_bits": 2},
            **fixed,
        }
        section, name = knob.split(".")
        tile[section] = {**tile[section], name: value}
        chips.append(chip(tile=tile))
    return chips


def test_more_adc_bits_cost_more_energy_and_area() -> None:
    chips = sweep("adc.bits", tuple(range(4, 11)))
    energy = [charge(c).total_fj(component="adc") for c in chips]
    area = [assemble(c)[0].area_mm2() for c in chips]
    assert energy == sorted(energy)
    assert len(set(energy)) == len(energy)
    assert area == sorted(area)


def test_more_rows_need_fewer_conversions_and_the_same_cells() -> None:
    chips = sweep("crossbar.rows", (64, 128, 256, 512, 1024))
    program = small_program(d=1024, experts=2, d_ff=1024, layers=1)
    ledgers = [charge(c, program) for c in chips]
    counts = [next(r.count for r in found if r.component == "adc") for found in ledgers]
    assert counts == [counts[-1] * n for n in (16, 8, 4, 2, 1)]
    # The cells that are read are the same however they are cut.
    assert len({next(r.count for r in f if r.component == "crossbar") for f in ledgers}) == 1


def test_more_bits_a_cell_need_fewer_conversions_and_cells() -> None:
    chips = sweep("device.cell_bits", tuple(range(1, 9)))
    counts = [next(r.count for r in charge(c) if r.component == "adc") for c in chips]
    cells = [next(r.count for r in charge(c) if r.component == "program") for c in chips]
    assert counts == sorted(counts, reverse=True)
    assert cells == sorted(cells, reverse=True)
    assert counts[0] == 8 * counts[-1]


@pytest.mark.parametrize("field", ["v_read_v", "read_ns"])
def test_cell_energy_rises_with_voltage_and_time(field: str) -> None:
    found = []
    for value in (0.1, 0.2, 0.4) if field == "v_read_v" else (10.0, 20.0, 40.0):
        config = chip(tile={"crossbar": {field: value}})
        found.append(charge(config).total_fj(component="crossbar"))
    powers = (1, 4, 16) if field == "v_read_v" else (1, 2, 4)
    assert found == pytest.approx([found[0] * p for p in powers])


def test_more_tiles_never_lower_area() -> None:
    areas = [assemble(chip(chip={"tiles": n}))[0].area_mm2() for n in (20, 40, 80)]
    assert areas == sorted(areas)


def test_charging_thousands_of_units_takes_milliseconds() -> None:
    program = small_program(d=128, experts=64, d_ff=64, layers=24)
    cost, _, units = assemble(chip(), program)
    assert len(units) > 1500
    counts = full_counts(units)
    times = []
    for _ in range(5):
        start = perf_counter()
        cost.charge(Ledger(), counts, None)
        times.append(perf_counter() - start)
    assert min(times) < 0.05
