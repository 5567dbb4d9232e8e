"""The commands peak, published and explain: what they print and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cimsim.config.load import bundled_folder, find_chip, load_chip
from cimsim.cost import COMPONENTS, all_constants
from cimsim.cost.explain import lines_for
from cimsim.results import COMPONENTS as RESULT_COMPONENTS
from cimsim.stages.columns.registry import run_tables
from tests.command_line import run_here as cimsim


def test_peak_prints_json_whose_parts_sum_to_the_whole() -> None:
    done = cimsim("peak", "isaac_peak", "--json")
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)
    assert report["tops"] == pytest.approx(41.288, rel=1e-3)
    assert sum(r["mw"] for r in report["power"]) == pytest.approx(report["power_w"] * 1e3)
    assert sum(r["mm2"] or 0 for r in report["area"]) == pytest.approx(report["area_mm2"])


def test_peak_takes_several_files_and_says_what_it_leaves_out() -> None:
    folder = bundled_folder() / "published"
    done = cimsim("peak", str(folder / "hermes_peak.yaml"), "puma_peak")
    assert done.returncode == 0, done.stderr
    assert "hermes_peak: 14 nm, 64 tiles" in done.stdout
    assert "not included: clock" in done.stdout
    assert "1 MAC = 2 operations" in done.stdout


def test_peak_states_its_density_and_warns_of_power_that_no_cooling_takes() -> None:
    done = cimsim("peak", "raella_peak", "sram_analog_22nm_peak", "isaac_peak")
    assert done.returncode == 0, done.stderr
    raella, sram, isaac = (" ".join(t.split()) for t in done.stdout.split("1 MAC")[1:])
    assert "input bit density 0.5, mean level 0.533 (default)" in raella
    assert "warning: no known cooling takes 6,744 W on 454.9 mm2, 14.8 W/mm2" in raella
    assert "950 TOPS/W" in sram
    assert "input bit density 1, mean level 1 (chip file)" in sram
    assert "the same energy whatever the data" in isaac  # a table of powers
    assert "warning" not in sram + isaac


def test_peak_names_the_adc_model_and_fits_80_columns() -> None:
    names = ["isaac_peak", "hermes_peak", "sram_digital_28nm_peak", "npu_hbm_peak"]
    done = cimsim("peak", *names)
    assert done.returncode == 0, done.stderr
    assert "8-bit ADC (table row)" in " ".join(done.stdout.split())
    assert "8-bit ADC (table: fitted" in " ".join(done.stdout.split())
    assert done.stdout.count("no ADC") == 2
    assert "off-chip interfaces 10.4 W" in " ".join(done.stdout.split())
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_peak_of_a_fitted_chip_is_refused_with_the_way_out() -> None:
    done = cimsim("peak", "isaac")
    assert done.returncode == 2
    assert "chip.tiles" in done.stderr
    assert "--set chip.tiles=N" in done.stderr
    assert cimsim("peak", "isaac", "--set", "chip.tiles=4").returncode == 0


@pytest.mark.parametrize(
    ("knob", "names", "said"),
    [
        ("energy_fj: 0, leakage_uw: 0", ("digital_linear", "weight_sram", "kv_sram"), "per joule"),
        ("area_um2: 0", ("digital_unit", "weight_sram", "kv_sram"), "per square millimetre"),
    ],
)
def test_figures_of_a_chip_that_costs_nothing_are_refused(
    tmp_path: Path, knob: str, names: tuple[str, ...], said: str
) -> None:
    free = "".join(f"    {name}: {{{knob}, source: test}}\n" for name in names)
    chip = tmp_path / "free.yaml"
    chip.write_text(f"extends: npu_hbm\nname: free\ncost:\n  overrides:\n{free}")
    done = cimsim("peak", str(chip))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "undefined" in done.stderr


def test_published_json_has_counts_and_rows(tmp_path: Path) -> None:
    plot, models = tmp_path / "parity.svg", tmp_path / "adc.png"
    done = cimsim("published", "--json", "--plot", str(plot), "--adc-plot", str(models))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["failed"] == 0
    passed = sum(c["passed"] for c in found["classes"].values())
    assert passed + found["not_modelled"] == len(found["rows"])
    assert plot.stat().st_size > 1000
    assert models.stat().st_size > 1000


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("tile.adc.bits", "knob of a chip file"),
        ("noc.kind", "Selects the model"),
        ("energy_per_token_nj", "column of results.csv"),
        ("adc", "one conversion of a column sum"),
        ("noc_router", "ISAAC router"),
        ("adc.isaac_power", "Table I"),
        ("leakage_tile_buffer", "leakage"),
    ],
)
def test_explain_knows_knobs_columns_components_and_constants(key: str, words: str) -> None:
    done = cimsim("explain", key)
    assert done.returncode == 0, done.stderr
    assert words in " ".join(done.stdout.split())
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_explain_of_nothing_names_the_nearest() -> None:
    done = cimsim("explain", "tile.adc.bitts")
    assert done.returncode == 2
    assert "tile.adc.bits" in done.stderr


def test_components_columns_and_constants_say_formula_unit_and_source() -> None:
    config = load_chip(find_chip("isaac"))
    for name in COMPONENTS:
        lines = lines_for(name, config)
        assert any(line.startswith("  energy of an action: ") for line in lines), name
        assert any("on isaac" in line for line in lines), name
    for table in run_tables():
        for column in table.columns:
            text = column.explained(table.name)
            assert column.meaning in text
            assert "unit: " in text
    for constant in all_constants():
        assert any(constant.source in line for line in lines_for(constant.key, config))


def test_components_that_results_name_are_explained() -> None:
    config = load_chip(find_chip("isaac"))
    for component in RESULT_COMPONENTS:
        assert lines_for(component.name, config), component.name
