"""Chips too small for their experts: they switch and pay for it; noisy cells err anew."""

from __future__ import annotations

import pytest
from conftest import Runner

from cimsim.errors import CimsimError

SMALL_CHIP = ("chip.tiles=5", "tile.pes=1")
EXPERT_BYTES = 3 * 32 * 16  # gate, up and down at 8 bits


@pytest.mark.parametrize("policy", ["lru", "lfu", "pinned", "prefetch"])
def test_exact_chip_that_switches_reports_bytes_and_energy(policy: str, run_tiny: Runner) -> None:
    result = run_tiny("sram_switching_28nm", *SMALL_CHIP, f"chip.switching={policy}")
    row = result.row
    assert row["expert_switches"] > 0
    assert row["expert_switch_bytes"] == row["expert_switches"] * EXPERT_BYTES
    assert row["expert_switch_energy_nj"] > 0.0
    assert row["cells_written"] == row["expert_switches"] * EXPERT_BYTES * 8
    assert row["mapper"] == "slots"
    programmed = [r for r in result.energy if r["component"] == "program"]
    assert sum(float(r["energy_per_token_nj"]) for r in programmed if r["phase"] != "calibration")


def test_what_switching_does_to_a_token_follows_from_what_was_counted(run_tiny: Runner) -> None:
    row = run_tiny("sram_switching_28nm", *SMALL_CHIP).row
    assert row["expert_switches_per_token"] == row["expert_switches"] / row["tokens"]
    rate = row["expert_switch_bytes"] / (row["makespan_us"] * 1e-6)
    assert row["expert_switch_bytes_per_s"] == pytest.approx(rate)
    assert 0 < row["expert_hit_rate"] <= row["expert_hit_rate_bound"] < 1
    # A visit that misses waits for a fetch and a write at least; some wait for one of others.
    assert row["expert_switch_stall_per_token_us"] > 0
    held = run_tiny("sram_switching_28nm", "chip.tiles=fit", "tile.pes=1").row
    assert held["expert_hit_rate"] is None
    assert held["expert_switches_per_token"] == held["expert_switch_stall_per_token_us"] == 0


def test_switching_costs_time_and_leaves_numbers_alone(run_tiny: Runner) -> None:
    small = run_tiny("sram_switching_28nm", *SMALL_CHIP).row
    large = run_tiny("sram_switching_28nm", "chip.tiles=fit", "tile.pes=1").row
    assert large["expert_switches"] == 0
    assert large["expert_switch_bytes"] == 0
    assert small["ppl_noisy_mean"] == large["ppl_noisy_mean"]
    assert small["latency_p50_us"] > large["latency_p50_us"]


@pytest.mark.parametrize("policy", ["lru", "lfu", "pinned", "prefetch"])
def test_noisy_chip_that_switches_reports_what_it_costs(policy: str, run_tiny: Runner) -> None:
    small = ("chip.tiles=6", "tile.pes=1", f"chip.switching={policy}", "run.chip_seeds=1")
    result = run_tiny("isaac", *small, "calibration.method=identity")
    row = result.row
    assert row["expert_switches"] > 0
    assert row["expert_switch_bytes"] == row["expert_switches"] * EXPERT_BYTES
    assert row["ppl_noisy_mean"] != row["ppl_ideal_int"]
    assert any("perplexity" in w and "decode" in w for w in result.warnings)


def test_chip_that_may_not_switch_says_how_much_is_missing(run_tiny: Runner) -> None:
    with pytest.raises(CimsimError, match="short") as caught:
        run_tiny("sram_digital_28nm", *SMALL_CHIP)
    assert caught.value.key == "chip.tiles"
    assert "fit" in caught.value.sentence()


def test_chip_that_cannot_hold_one_tokens_experts_is_refused(run_tiny: Runner) -> None:
    with pytest.raises(CimsimError, match="experts of one token") as caught:
        run_tiny("sram_switching_28nm", "chip.tiles=1", "tile.pes=1")
    assert caught.value.key == "chip.tiles"


def test_switching_says_how_long_cells_last(run_tiny: Runner) -> None:
    lasting = run_tiny("sram_switching_28nm", *SMALL_CHIP).warnings
    worn = run_tiny(
        "sram_switching_28nm", *SMALL_CHIP, "tile.device.programming.endurance=1000"
    ).warnings
    assert not [w for w in lasting if "endurance" in w]
    (said,) = [w for w in worn if "tile.device.programming.endurance" in w]
    # endurance / writes x time, from the sentence's own figures (three digits each).
    writes, span_us, life_s = int(said.split()[6]), float(said.split()[9]), float(said.split()[-2])
    assert life_s == pytest.approx(1000 / writes * span_us * 1e-6, rel=0.01)


def test_energy_of_a_switch_is_its_fetch_and_its_writes(run_tiny: Runner) -> None:
    result = run_tiny("sram_switching_28nm", *SMALL_CHIP)
    row = result.row
    phase = f"decode_b{row['latency_batch']}"
    each = {
        (str(r["component"]), str(r["kind"])): float(r["energy_per_action_fj"])
        for r in result.energy
        if r["phase"] == phase and not r["calibrated"]
    }
    fetched = 8 * row["expert_switch_bytes"] * each["dram", "off_chip"]
    written = row["cells_written"] * each["program", "dynamic"]
    assert row["expert_switch_energy_nj"] == pytest.approx((fetched + written) / 1e6)


def test_lifetime_is_endurance_over_the_writes_of_the_busiest_slot(run_tiny: Runner) -> None:
    endless = run_tiny("sram_switching_28nm", *SMALL_CHIP).row
    assert endless["switch_lifetime_s"] is None
    assert "any number of writes" in str(endless["empty_because"])
    row = run_tiny("sram_switching_28nm", *SMALL_CHIP, "tile.device.programming.endurance=1000").row
    assert 1 <= row["expert_slot_writes_max"] <= row["expert_switches"]
    expected = 1000 * row["makespan_us"] / 1e6 / row["expert_slot_writes_max"]
    assert row["switch_lifetime_s"] == pytest.approx(expected)
