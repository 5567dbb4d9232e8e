"""Closed-form visit times and write times against schedules worked out by hand."""

from __future__ import annotations

import pytest

from cimsim.chip import Unit, UnitKey, tile_matrix
from cimsim.config import ChipConfig
from cimsim.cost.actions import count_actions
from cimsim.cost.adc import price_adc
from cimsim.cost.programming import (
    lifetime_s,
    price_program,
    programming_bytes,
    programming_ps,
    verify_pj,
)
from cimsim.cost.timing import pipeline_depth, visit_timing
from cimsim.workload.matrix import Matrix, MatrixId
from tests.cost.chips import chip


def unit(config: ChipConfig, *shapes: tuple[str, int, int]) -> Unit:
    matrices = [Matrix(MatrixId(0, role, 0), n_in, n_out) for role, n_in, n_out in shapes]
    return Unit(UnitKey(0, "experts", 0), tuple(tile_matrix(m, config.tile) for m in matrices))


def isaac(**tile: object) -> ChipConfig:
    base: dict[str, object] = {
        "crossbar": {"rows": 128, "cols": 128, "read_ns": 100},
        "weight": {"bits": 8, "encoding": "offset"},
        "adc": {"kind": "isaac", "rate_gsps": 1.28, "per_pe": 8},
    }
    return chip(technology={"clock_ghz": 1.0}, tile={**base, **tile})


def test_interval_is_cycles_times_the_read_where_converting_is_hidden() -> None:
    config = isaac()
    timing = visit_timing(config, unit(config, ("up", 128, 32)))
    # 128 conversions / 1.28 GS/s = 100 ns = the read; 8 cycles; two stages to drain.
    assert timing.interval_ps == 800_000
    assert timing.fill_ps == 200_000
    assert timing.visit_ps(10) == 200_000 + 10 * 800_000


def test_conversions_add_what_faster_converters_would_save() -> None:
    hidden = visit_timing(isaac(), unit(isaac(), ("up", 128, 32)))
    assert (hidden.adc_fill_ps, hidden.adc_interval_ps) == (0, 0)  # 100 ns, like the read
    slow = isaac(adc={"kind": "isaac", "rate_gsps": 0.64, "per_pe": 8})
    timing = visit_timing(slow, unit(slow, ("up", 128, 32)))
    # 200 ns per step instead of 100: 8 cycles, and two stages to drain.
    assert (timing.adc_fill_ps, timing.adc_interval_ps) == (200_000, 800_000)
    single = isaac(pe={"sample_hold": "single"})
    timing = visit_timing(single, unit(single, ("up", 128, 32)))
    assert (timing.adc_fill_ps, timing.adc_interval_ps) == (0, 800_000)


def test_published_pipelines_follow_from_the_fill() -> None:
    config = isaac(weight={"bits": 16, "encoding": "offset"}, input={"bits": 16})
    one = unit(config, ("up", 128, 16))
    # ISAAC: 22 stages from buffer to buffer. PUMA: (16 + 2) x 128 ns = 2,304 ns.
    assert pipeline_depth(one.tilings[0]) == 22
    puma = isaac(
        weight={"bits": 16, "encoding": "offset"},
        input={"bits": 16},
        adc={"kind": "isaac", "rate_gsps": 1.0, "per_pe": 8},
    )
    assert visit_timing(puma, unit(puma, ("up", 128, 16))).latency_ps == 2_304_000


def test_single_sample_hold_adds_read_and_conversion() -> None:
    config = isaac(pe={"crossbars": 8, "sample_hold": "single"})
    timing = visit_timing(config, unit(config, ("up", 128, 32)))
    assert timing.interval_ps == 8 * 200_000
    assert timing.fill_ps == 1000


def test_slow_adc_sets_the_step() -> None:
    config = isaac(adc={"kind": "isaac", "rate_gsps": 0.64, "per_pe": 8})
    assert visit_timing(config, unit(config, ("up", 128, 32))).interval_ps == 8 * 200_000


def test_adc_shared_by_crossbars_waits_for_those_of_the_same_visit() -> None:
    config = isaac(adc={"kind": "isaac", "rate_gsps": 1.28, "per_pe": 2})
    alone = visit_timing(config, unit(config, ("up", 128, 32)))
    assert alone.interval_ps == 8 * 100_000
    both = visit_timing(config, unit(config, ("up", 256, 32)))
    assert both.interval_ps == 8 * 200_000


def test_adcs_are_shared_by_crossbars_of_one_pe_alone() -> None:
    config = isaac(adc={"kind": "isaac", "rate_gsps": 1.28, "per_pe": 2})
    four = unit(config, ("up", 512, 32))
    found = [visit_timing(config, four, in_pe).interval_ps for in_pe in (1, 2, 3, 4)]
    assert found == [8 * 100_000 * n for n in (1, 2, 3, 4)]
    assert visit_timing(config, four) == visit_timing(config, four, 4)
    # No more than four of eight crossbars have one of two ADCs in common.
    assert visit_timing(config, unit(config, ("up", 1024, 32)), 8).interval_ps == 8 * 400_000


def test_stages_of_a_visit_share_adcs_because_all_of_them_read_at_once() -> None:
    shapes = (("gate", 128, 32), ("up", 128, 16), ("down", 32, 128))
    config = isaac(adc={"kind": "isaac", "rate_gsps": 1.28, "per_pe": 1})
    timing = visit_timing(config, unit(config, *shapes))
    # Samples a read of the six crossbars: 128, 64 and four times 128.
    assert timing.interval_ps == 8 * (5 * 100_000 + 50_000)
    # A vector alone: gate and up together, three steps of 400 ns to drain and a clock more.
    assert timing.latency_ps == (8 + 2) * 200_000 + 1000 + (8 + 2) * 400_000
    assert timing.fill_ps == timing.latency_ps - timing.interval_ps
    # In PEs of their own they do not wait, and two ADCs halve what an ADC has to do.
    assert visit_timing(config, unit(config, *shapes), 1).interval_ps == 8 * 100_000
    two = isaac(adc={"kind": "isaac", "rate_gsps": 1.28, "per_pe": 2})
    assert visit_timing(two, unit(two, *shapes)).interval_ps == 8 * 4 * 100_000


def test_single_sample_hold_reads_before_the_shared_conversions_of_all_stages() -> None:
    shapes = (("gate", 128, 32), ("up", 128, 32), ("down", 32, 32))
    adc = {"kind": "isaac", "rate_gsps": 1.28, "per_pe": 1}
    config = isaac(adc=adc, pe={"crossbars": 8, "sample_hold": "single"})
    timing = visit_timing(config, unit(config, *shapes))
    assert timing.interval_ps == 8 * (100_000 + 3 * 100_000)
    whole = config.tile.pe.model_copy(update={"accumulate_cycles": True})
    tile = config.tile.model_copy(update={"pe": whole})
    once = config.model_copy(update={"tile": tile})
    assert visit_timing(once, unit(once, *shapes)).interval_ps == 8 * 100_000 + 3 * 100_000


def test_row_groups_repeat_the_read() -> None:
    config = isaac(crossbar={"rows": 128, "cols": 128, "rows_active": 32, "read_ns": 100})
    assert visit_timing(config, unit(config, ("up", 128, 32))).interval_ps == 8 * 4 * 100_000
    # Only the rows in use are read: 40 rows are two groups.
    assert visit_timing(config, unit(config, ("up", 40, 32))).interval_ps == 8 * 2 * 100_000


def test_digital_subtraction_converts_both_of_a_pair() -> None:
    tile = {"weight": {"bits": 8, "encoding": "differential"}, "crossbar": {"read_ns": 10}}
    device = {"kind": "ideal", "cell_bits": 7}
    analog = isaac(**tile, device=device)
    digital = isaac(**tile, device=device, pe={"crossbars": 8, "subtract": "digital"})
    shape = ("up", 128, 64)
    before = visit_timing(analog, unit(analog, shape)).interval_ps
    after = visit_timing(digital, unit(digital, shape)).interval_ps
    assert (before, after) == (8 * 50_000, 8 * 100_000)


def test_charge_that_accumulates_over_cycles_is_converted_once() -> None:
    config = isaac(pe={"crossbars": 8, "sample_hold": "single", "accumulate_cycles": True})
    one = unit(config, ("up", 128, 32))
    assert visit_timing(config, one).interval_ps == 8 * 100_000 + 100_000
    actions = count_actions((one,), config)
    assert actions.column("conversions")[0] == 128


def test_pulse_width_inputs_add_their_pulses() -> None:
    config = isaac(
        dac={"kind": "pwm", "bits": 4, "unit_ns": 10.0},
        input={"bits": 8, "signed": "shift"},
        crossbar={"rows": 128, "cols": 128, "read_ns": 50},
        adc={"kind": "isaac", "rate_gsps": 12.8, "per_pe": 8},
    )
    assert visit_timing(config, unit(config, ("up", 128, 32))).interval_ps == 2 * 200_000


def test_expert_stages_form_a_pipeline() -> None:
    config = isaac()
    shapes = (("gate", 128, 32), ("up", 128, 32), ("down", 32, 128))
    timing = visit_timing(config, unit(config, *shapes))
    # Gate and up together, a clock of activation, then down: 1 + 1 + 0.001 us for one vector.
    assert timing.interval_ps == 800_000
    assert timing.latency_ps == 2 * 1_000_000 + 1000


def test_row_blocks_are_added_in_a_tree() -> None:
    config = isaac()
    one = visit_timing(config, unit(config, ("up", 128, 32)))
    five = visit_timing(config, unit(config, ("up", 600, 32)))
    assert five.fill_ps - one.fill_ps == 3 * 1000


def test_digital_crossbar_has_no_conversion() -> None:
    config = isaac(
        crossbar={"kind": "digital", "rows": 128, "cols": 64, "read_ns": 5},
        device={"kind": "ideal", "technology": "sram", "cell_bits": 1},
    )
    one = unit(config, ("up", 128, 8))
    timing = visit_timing(config, one)
    assert (timing.interval_ps, timing.fill_ps) == (40_000, 1000)
    assert count_actions((one,), config).column("conversions")[0] == 0


def test_published_stage_time_replaces_the_derived_one() -> None:
    base = isaac()
    config = base.model_copy(update={"cost": chip(cost={"stage_interval_ns": 120.5}).cost})
    assert visit_timing(config, unit(config, ("up", 128, 32))).interval_ps == 8 * 120_500
    # A time in which the ADCs cannot convert 128 columns is not met.
    config = base.model_copy(update={"cost": chip(cost={"stage_interval_ns": 86.5}).cost})
    assert visit_timing(config, unit(config, ("up", 128, 32))).interval_ps == 8 * 100_000


def test_actions_of_one_vector_by_hand() -> None:
    config = isaac()
    found = count_actions((unit(config, ("up", 200, 40)),), config)
    # 128 + 72 rows; 32 + 8 outputs in two column blocks of 128 and 32 columns.
    expected = {
        "conversions": 2 * 8 * (128 + 32),
        "row_drives": 200 * 2 * 8,
        "cell_reads": 200 * 160 * 8,
        "input_bits": 200 * 2 * 8,
        "output_bits": 2 * 40 * 24,
        "cells": 200 * 160,
    }
    assert {name: int(found.column(name)[0]) for name in expected} == expected


def writing(**programming: object) -> ChipConfig:
    return isaac(device={"kind": "ideal", "cell_bits": 2, "programming": programming})


def test_write_time_is_rows_times_pulses_plus_erase() -> None:
    config = writing(rows_parallel=4, pulses=2.5, pulse_ns=10, verify_ns=6, erase_ns=1000)
    one = unit(config, ("up", 300, 32))
    # 128 rows, four at once: 32 x 2.5 x 16 ns + 1 us.
    assert programming_ps(config, one) == 32 * 40_000 + 1_000_000


def test_write_energy_is_cells_times_pulses() -> None:
    config = writing(pulses=2.5, pulse_energy_pj=0.6, verify_energy_pj=0.1)
    assert price_program(config).energy_fj == pytest.approx(2.5 * 700)


def test_a_verifying_read_is_the_cells_current_and_one_conversion() -> None:
    config = isaac(
        crossbar={"rows": 128, "cols": 128, "v_read_v": 0.2},
        device={
            "kind": "ideal",
            "g_max_us": 100,
            "programming": {"pulses": 3, "pulse_energy_pj": 0.6, "verify_ns": 10},
        },
    )
    convert_fj = price_adc(config.tile, 32, 0.9).energy_fj
    assert convert_fj is not None
    # 50 uS x 0.04 V2 x 10 ns = 20 fJ.
    assert verify_pj(config) == pytest.approx((20 + convert_fj) / 1e3)
    assert price_program(config).energy_fj == pytest.approx(3 * (600 + 20 + convert_fj))
    assert "verify" in price_program(config).source


def test_no_verifying_read_costs_nothing() -> None:
    assert verify_pj(writing(pulses=2.5)) == 0.0


def test_erasing_is_charged_once_a_cell_or_said_to_be_missing() -> None:
    silent = price_program(writing(pulses=2, pulse_energy_pj=0.6, erase_ns=1000))
    assert any("energy not modelled" in n for n in silent.notes)
    told = price_program(
        writing(pulses=2, pulse_energy_pj=0.6, erase_ns=1000, erase_energy_pj=30.0)
    )
    assert told.energy_fj == pytest.approx(2 * 600 + 30_000)
    assert not any("energy not modelled" in n for n in told.notes)


def test_stored_bytes_are_weights_times_their_bits() -> None:
    config = isaac()
    one = unit(config, ("gate", 128, 32), ("up", 128, 32), ("down", 32, 128))
    assert programming_bytes(config, one) == 3 * 4096


def test_lifetime_is_endurance_over_write_rate() -> None:
    # One write a second on a part that takes 1e4: 2.8 hours.
    assert lifetime_s(writing(endurance=1e4), 10, 10.0) == pytest.approx(1e4)
    assert lifetime_s(writing(), 10, 10.0) is None
    assert lifetime_s(writing(endurance=1e4), 0, 10.0) is None
