"""Every published chip loads, has peak figures, and survives being written and read again."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import pytest

from cimsim.chip import build_mesh
from cimsim.config.bundled import find_published
from cimsim.config.chip import Mesh
from cimsim.config.load import bundled_folder, dump_yaml, load_chip
from cimsim.cost import CostModel
from cimsim.cost.peak import peak
from cimsim.cost.peak_report import as_dict
from cimsim.errors import CimsimError
from cimsim.workload.shapes import shape_program

PRESETS = sorted((bundled_folder() / "published").glob("*.yaml"))


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.stem)
def test_published_chip_has_finite_peak_figures(path: Path) -> None:
    report = as_dict(peak(load_chip(path)))
    for name in ("tops", "tops_per_w", "tops_per_mm2", "power_w", "area_mm2", "interval_ns"):
        assert isfinite(report[name])
        assert report[name] > 0
    assert report["config"] == path.stem


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.stem)
def test_published_chip_says_where_its_numbers_come_from(path: Path) -> None:
    config = load_chip(path)
    assert all(t.source for t in config.cost.tables.values())
    assert all(o.source != "user" for o in config.cost.overrides.values())
    assert path.read_text(encoding="utf-8").startswith("#")


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.stem)
def test_resolved_chip_reads_back_the_same(path: Path, tmp_path: Path) -> None:
    config = load_chip(path)
    copy = tmp_path / "resolved.yaml"
    copy.write_text(dump_yaml(config), encoding="utf-8")
    assert load_chip(copy) == config


RUNNABLE = sorted(bundled_folder().glob("*.yaml"))


@pytest.mark.parametrize("path", RUNNABLE, ids=lambda p: p.stem)
def test_runnable_chip_names_its_source_and_has_prices(path: Path) -> None:
    config = load_chip(path)
    assert config.name == path.stem
    assert path.read_text(encoding="utf-8").startswith("#")
    program = shape_program("olmoe-1b-7b")
    mesh = build_mesh(config.model_copy(update={"chip": Mesh(tiles=1)}), 0)
    cost = CostModel(config, mesh, program)
    assert isfinite(cost.area_mm2())
    assert cost.area_mm2() > 0


def test_every_published_design_has_a_runnable_chip() -> None:
    names = " ".join(p.stem for p in RUNNABLE)
    for word in ("isaac", "puma", "raella", "neurram", "hermes", "pcm", "eflash", "npu"):
        assert word in names
    for word in ("sram_analog_65nm", "sram_analog_22nm", "sram_analog_7nm", "sram_digital_28nm"):
        assert word in names


def test_presets_cover_the_published_designs() -> None:
    names = " ".join(p.stem for p in PRESETS)
    for word in ("isaac", "puma", "raella", "neurram", "hermes", "eflash", "sram", "npu"):
        assert word in names


def test_unknown_chip_is_refused() -> None:
    with pytest.raises(CimsimError):
        find_published("no_such_chip_anywhere")


def test_peak_scales_with_tiles_and_efficiency_does_not() -> None:
    path = find_published("hermes_peak")
    one, two = (peak(load_chip(path, (f"chip.tiles={n}",))) for n in (32, 64))
    assert two.tops == pytest.approx(2 * one.tops)
    assert two.area_mm2 == pytest.approx(2 * one.area_mm2)
    assert two.tops_per_w == pytest.approx(one.tops_per_w)
