"""A device model and a transfer curve of one's own: one file, one registration, nothing edited."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from cimsim.config import ChipConfig
from cimsim.config.load import config_hash, dump_yaml, load_chip
from cimsim.errors import CimsimError
from cimsim.mac import knobs_without_effect, register_curve
from cimsim.mac.curves import curve_of, is_straight
from cimsim.mac.study import study_tile
from cimsim.testing import check_adc_model, check_device_model, check_tile
from tests.mac.helpers import keys_of, make_tile, normal, program

PLUGIN = """
import numpy as np
from cimsim.mac import DeviceModel, WriteError, register_curve, register_device

@register_curve("plugged_curve")
def plugged_curve(place):
    return place**1.25

@register_device("plugged_cell")
class PluggedCell(DeviceModel):
    def programming(self, target):
        return WriteError(0.0 * target, 0.01 + 0.02 * target)
"""
CHIP = """
name: plugged
tile:
  adc: {kind: isaac, bits: 6, curve: plugged_curve}
  device: {kind: custom, model: plugged_cell, module: cimsim_tests_plugin, cell_bits: 2}
"""


@register_curve("tests_falling")
def falling(place: np.ndarray) -> np.ndarray:
    return np.sin(np.pi * place) + place


@register_curve("tests_short")
def short(place: np.ndarray) -> np.ndarray:
    return 0.9 * place


def test_one_file_outside_adds_a_device_and_a_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "cimsim_tests_plugin.py").write_text(PLUGIN)
    (tmp_path / "chip.yaml").write_text(CHIP)
    monkeypatch.syspath_prepend(tmp_path / "installed")
    try:
        config = load_chip(tmp_path / "chip.yaml")
        assert len(check_device_model(config.tile.device)) == 7
        assert len(check_adc_model(config.tile.adc)) == 6
        assert len(check_tile(config.tile)) == 7
    finally:
        sys.modules.pop("cimsim_tests_plugin", None)


@pytest.mark.parametrize("module", ["strangers_code", "strangers_code.cell", "antigravity", "..x"])
def test_a_chip_file_runs_no_code_of_the_working_folder_and_none_of_python_itself(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strangers_code").mkdir()
    for name in ("__init__.py", "cell.py"):
        mark = f"open({str(tmp_path / 'ran')!r}, 'w').close()"
        (tmp_path / "strangers_code" / name).write_text(mark)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "chip.yaml").write_text(CHIP.replace("cimsim_tests_plugin", module))
    config = load_chip(tmp_path / "chip.yaml", ("tile.device.model=nobodys_cell",))
    with pytest.raises(CimsimError, match=r"no such module is installed.*--plugin FILE\.py"):
        check_device_model(config.tile.device)
    assert not (tmp_path / "ran").exists()
    assert "antigravity" not in sys.modules


def test_a_curve_moves_codes_and_the_digital_side_does_not_know() -> None:
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 64, 6), normal(rng, 4, 64)
    adc = {"kind": "isaac", "bits": 6}
    plain = program(weight, make_tile(adc=adc))
    bent = program(weight, make_tile(adc={**adc, "curve": "tests_bent"}))
    codes = [p.codes(x, keys_of(4), read_seed=0) for p in (plain, bent)]
    least, most = plain.conversion.low, plain.conversion.high
    place = (codes[0] - least) / (most - least)
    moved = 0.2 * place * (1.0 - place) * (most - least)
    # Both round: each is at most half a code off.
    assert np.abs(codes[1] - codes[0] - moved).max() <= 1.1
    assert (codes[1] != codes[0]).any()
    assert not bent.folds


def test_a_study_names_the_curve_among_the_converters_errors() -> None:
    rng = np.random.default_rng(1)
    tile = make_tile(adc={"kind": "isaac", "bits": 10, "curve": "tests_bent"})
    study = study_tile(tile, normal(rng, 64, 6), normal(rng, 16, 64))
    found = {s.name: s for s in study.sources}
    assert found["converter_errors"].alone > 2.0 * found["converter_errors"].without  # type: ignore[operator]
    assert "transfer curve" in study.predicted.left_out


@pytest.mark.parametrize(
    ("name", "message"),
    [("straihgt", "straight"), ("tests_falling", "never fall"), ("tests_short", "1 at 1")],
)
def test_what_is_no_curve_is_refused(name: str, message: str) -> None:
    with pytest.raises(CimsimError, match=rf"tile\.adc\.curve.*{name}") as error:
        curve_of(make_tile(adc={"kind": "isaac", "curve": name}).adc)
    assert message in str(error.value)


def test_a_straight_curve_is_no_part_of_a_chips_identity(tmp_path: Path) -> None:
    plain = ChipConfig(name="plain")
    said = ChipConfig.model_validate(
        {"name": "plain", "tile": {"adc": {"kind": "isaac", "curve": "straight"}}}
    )
    bent = ChipConfig.model_validate(
        {"name": "plain", "tile": {"adc": {"kind": "isaac", "curve": "tests_bent"}}}
    )
    assert config_hash(plain) == config_hash(said) != config_hash(bent)
    assert "curve" not in dump_yaml(plain)
    (tmp_path / "again.yaml").write_text(dump_yaml(bent))
    assert load_chip(tmp_path / "again.yaml") == bent
    assert is_straight(plain.tile.adc)
    assert not is_straight(bent.tile.adc)


@pytest.mark.parametrize(
    ("tile", "key"),
    [
        ({"adc": {"kind": "isaac", "curve": "tests_bnet"}}, "tile.adc.curve"),
        ({"device": {"kind": "custom", "model": "tests_linear_cel"}}, "tile.device.kind"),
        ({"device": {"kind": "custom", "model": "pcm"}}, "tile.device.model"),
    ],
)
def test_names_are_looked_up_before_a_run(tile: dict[str, object], key: str) -> None:
    with pytest.raises(CimsimError) as error:
        knobs_without_effect(ChipConfig.model_validate({"name": "chip", "tile": tile}))
    assert error.value.key == key


def test_a_digital_crossbar_has_no_use_for_a_curve() -> None:
    tile = {"crossbar": {"kind": "digital"}, "adc": {"kind": "isaac", "curve": "tests_bent"}}
    found = knobs_without_effect(ChipConfig.model_validate({"name": "digital", "tile": tile}))
    assert "tile.adc.curve has no effect: digital crossbars are exact" in found
