"""Whole runs on systems of several chips."""

from __future__ import annotations

import pytest
from conftest import Runner

from cimsim.errors import CimsimError


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
    result = run_tiny("isaac", "run.chip_seeds=1", "system.link.gbps=7")
    assert result.row["chip_link_bytes_per_token"] == 0
    assert any("system.link.gbps has no effect" in w for w in (*result.warnings, *result.notes))
    assert "thermal feedback" in result.not_modelled


def test_switching_over_several_chips_is_refused_by_name(run_tiny: Runner) -> None:
    spread = ("tile.pes=1", "run.chip_seeds=1", "system.chips=2", "chip.tiles=2")
    with pytest.raises(CimsimError, match=r"system\.chips: experts are switched on one chip only"):
        run_tiny("sram_switching_28nm", *spread)


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
