"""Whole runs on systems of several chips."""

from __future__ import annotations

import pytest
from conftest import Runner

from cimsim.errors import CimsimError
from cimsim.stages.measured import ChipMeasurement

EXPERT_BYTES = 3 * 32 * 16  # gate, up and down at 8 bits


@pytest.mark.parametrize("placement", ["layers", "experts"])
def test_a_model_spread_over_chips_pays_for_links_between_them(
    run_tiny: Runner, placement: str
) -> None:
    spread = ("tile.pes=1", "run.chip_seeds=1", "system.chips=2", f"system.placement={placement}")
    result = run_tiny("isaac", *spread)
    assert result.row["chips"] == 2
    assert result.row["chip_link_bytes_per_token"] > 0
    link = {r["component"]: r for r in result.energy if r["phase"] == "prefill"}["chip_link"]
    assert link["energy_per_token_nj"] > 0
    assert sum(result.tile_load.noisy_ps[: len(result.tile_load.noisy_ps) // 2]) > 0
    assert sum(result.tile_load.noisy_ps[len(result.tile_load.noisy_ps) // 2 :]) > 0


def test_one_chip_has_no_links_and_says_which_knobs_are_idle(run_tiny: Runner) -> None:
    result = run_tiny("isaac", "run.chip_seeds=1", "system.link.gb_per_s=7")
    assert result.row["chip_link_bytes_per_token"] == 0
    assert any("system.link.gb_per_s has no effect" in w for w in (*result.warnings, *result.notes))
    assert "thermal feedback" in result.not_modelled


@pytest.mark.parametrize("placement", ["layers", "experts"])
def test_every_chip_of_a_system_switches_its_own_experts(
    run_tiny: Runner, seen: list[ChipMeasurement], placement: str
) -> None:
    spread = ("tile.pes=1", "run.chip_seeds=1", "system.chips=2", f"system.placement={placement}")
    row = run_tiny("sram_switching_28nm", *spread, "chip.tiles=3").row
    assert row["expert_switches"] > 0
    assert row["expert_switch_bytes"] == row["expert_switches"] * EXPERT_BYTES
    assert row["chip_link_bytes_per_token"] > 0
    assert 0 < row["expert_hit_rate"] <= row["expert_hit_rate_bound"] <= 1
    (measured,) = seen
    placed = measured.chip.placement
    assert set(placed.slot_chips) == {0, 1}
    for phase in measured.before.phases:
        plan, writes = phase.result.plan, phase.result.switching.writes
        homes = [placed.homes[plan.copies.expert_units[e]] for e in writes[:, 1]]
        assert [placed.slot_chips[s] for s in writes[:, 0]] == homes


def test_switching_over_several_chips_leaves_exact_numbers_alone(run_tiny: Runner) -> None:
    spread = ("tile.pes=1", "run.chip_seeds=1", "system.chips=2")
    small = run_tiny("sram_switching_28nm", *spread, "chip.tiles=3").row
    large = run_tiny("sram_switching_28nm", *spread, "chip.tiles=fit").row
    assert small["ppl_noisy_mean"] == large["ppl_noisy_mean"]
    assert large["expert_switches"] == 0
    assert small["latency_p50_us"] > large["latency_p50_us"]


def test_noisy_experts_are_switched_over_several_chips(run_tiny: Runner) -> None:
    spread = ("tile.pes=1", "run.chip_seeds=1", "system.chips=2", "chip.tiles=3")
    row = run_tiny("isaac", *spread, "chip.switching=lru").row
    assert row["expert_switches"] > 0
    assert row["ppl_noisy_mean"] != row["ppl_ideal_int"]


def test_a_chip_of_a_system_that_cannot_hold_one_tokens_experts_is_named(run_tiny: Runner) -> None:
    spread = ("tile.pes=1", "run.chip_seeds=1", "system.chips=2", "chip.tiles=1")
    with pytest.raises(CimsimError, match=r"chip [01] of 2 .* experts of one token") as caught:
        run_tiny("sram_switching_28nm", *spread)
    assert caught.value.key == "chip.tiles"


def test_a_chip_over_the_reticle_limit_is_warned_of(run_tiny: Runner) -> None:
    result = run_tiny("isaac", "run.chip_seeds=1", "cost.overrides={adc: {area_um2: 3e7}}")
    assert any("reticle limit of 858 mm2" in w for w in result.warnings)


def test_every_resource_is_a_row_and_the_busiest_is_the_one_named(run_tiny: Runner) -> None:
    result = run_tiny("isaac", "tile.pes=1", "run.chip_seeds=1", "system.chips=2")
    rows = {str(r["resource"]): r for r in result.resources}
    assert len(rows) == len(result.resources)
    kinds = {r["kind"] for r in result.resources}
    assert {"tile", "digital unit", "memory channels", "link", "chip link"} <= kinds
    busiest = max(result.resources, key=lambda r: float(r["utilisation"]))  # type: ignore[arg-type]
    assert busiest["resource"] == result.row["critical_resource"]
    assert busiest["utilisation"] == result.row["critical_resource_utilisation"]
    assert sum(r["kind"] == "tile" for r in result.resources) == result.row["tiles"]
    assert str(result.row["network_model"]).startswith("packet level")


def test_the_network_is_drawn_with_every_link_in_use(run_tiny: Runner) -> None:
    from cimsim.report.network_map import network_map
    from cimsim.report.view import Design

    result = run_tiny("isaac", "tile.pes=1", "run.chip_seeds=1", "system.chips=2")
    design = Design(1, result)
    figure = network_map(design, "isaac/")
    links = sum(r["kind"] == "link" for r in result.resources)
    assert figure.alt.startswith(f"Map of {links} links in use")
    assert b"chip 1" in figure.svg
