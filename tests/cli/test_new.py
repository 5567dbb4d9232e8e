"""Chip files from a kind, macros that are checked, parents by published names, stated densities."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Cimsim

from cimsim.config.bundled import KINDS, template
from cimsim.config.knobs import find_knobs
from cimsim.config.load import load_chip
from cimsim.cost.peak import peak
from cimsim.errors import CimsimError


def test_a_new_chip_of_every_kind_is_valid(cimsim: Cimsim, tmp_path: Path) -> None:
    for kind in KINDS:
        done = cimsim("new", kind, f"my {kind}.yaml")
        assert done.returncode == 0, done.stderr
    found = cimsim("validate", *(f"my {kind}.yaml" for kind in KINDS))
    assert found.returncode == 0, found.stderr
    assert found.stdout.count(": ok, chip ") == len(KINDS)
    assert "warning" not in found.stdout
    config = load_chip(tmp_path / "my eflash.yaml")
    assert config.name == "my eflash"
    assert config.cost.scope == "macro"


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_chip_says_what_to_replace_and_has_peak_figures(kind: str, tmp_path: Path) -> None:
    text = template(kind, "mine")
    assert text.count("ours") >= 3  # yours: what is to be replaced
    (tmp_path / "mine.yaml").write_text(text)
    found = peak(load_chip(tmp_path / "mine.yaml", ("chip.tiles=1",)))
    assert found.ledger.total_fj(component="macro_control") > 0
    assert found.tops_per_w > 0
    assert not [note for note in found.notes if "no effect" in note]


def test_a_file_is_not_written_over_and_kinds_are_named(cimsim: Cimsim, tmp_path: Path) -> None:
    (tmp_path / "pcm.yaml").write_text("mine")
    there = cimsim("new", "pcm")
    assert there.returncode == 2
    assert "exists already" in there.stderr
    assert (tmp_path / "pcm.yaml").read_text() == "mine"
    wrong = cimsim("new", "flash")
    assert wrong.returncode == 2
    assert "did you mean 'eflash'?" in wrong.stderr


def test_macros_are_checked_and_published_chips_found_by_name(
    cimsim: Cimsim, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text("extends: hermes_peak\ntile: {adc: {bits: 7}}\n")
    found = cimsim("validate", "mine.yaml", "colonnade_peak")
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("on which no model runs; peak ") == 2
    assert load_chip(tmp_path / "mine.yaml").tile.crossbar.cols == 512


def test_a_chip_that_is_too_small_for_its_model_is_still_refused(
    cimsim: Cimsim, tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text("extends: isaac\nchip: {tiles: 1}\n")
    found = cimsim("validate", "small.yaml")
    assert found.returncode == 2
    assert "chip.tiles" in found.stderr


def test_a_density_on_the_command_line_is_charged_and_stated(cimsim: Cimsim) -> None:
    given, as_knobs = (
        json.loads(cimsim("peak", "hermes_peak", "--json", *more).stdout)[0]
        for more in (
            ["--density", "0.2,0.3"],
            ["--set", "cost.input_bit_density=0.2", "--set", "cost.mean_level_fraction=0.3"],
        )
    )
    assert given == as_knobs
    assert (given["input_bit_density"], given["mean_level_fraction"]) == (0.2, 0.3)


@pytest.mark.parametrize("text", ["x", "1.5", "0.1,0.2,0.3", "", "nan"])
def test_a_density_that_is_none_is_refused(text: str, cimsim: Cimsim) -> None:
    found = cimsim("peak", "hermes_peak", "--density", text)
    assert found.returncode == 2
    assert "--density: must be one or two shares" in found.stderr


def test_templates_name_knobs_that_exist() -> None:
    paths = {knob.path for knob in find_knobs()}
    assert {"cost.scope", "technology.vdd_v", "tile.crossbar.sense.mirrors"} <= paths


def test_the_chip_of_the_page_on_macros_is_valid(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "macros.md").read_text(encoding="utf-8")
    text = page.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "my_flash.yaml").write_text(text)
    found = peak(load_chip(tmp_path / "my_flash.yaml", ("chip.tiles=1",)))
    assert {"bit_line", "macro_control", "adc"} <= set(found.ledger.by_component())
    assert not [note for note in found.notes if "no effect" in note]


def test_a_parent_of_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(f"extends: {'x' * 300}\n")
    with pytest.raises(CimsimError, match="names a chip that does not exist"):
        load_chip(tmp_path / "x.yaml")
