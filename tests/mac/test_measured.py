"""Measured tables of cells and converters: interpolated by the stated rule, refused beyond it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cimsim.config.bundled import bundled_folder
from cimsim.config.converter import MeasuredAdc
from cimsim.config.device import MeasuredDevice
from cimsim.config.load import config_hash, dump_yaml, load_chip, parse_chip
from cimsim.errors import CimsimError
from cimsim.mac import AgeGrid
from cimsim.mac.adc import fresh_variance
from cimsim.mac.cells import cell_tables
from cimsim.mac.curves import POINTS, curve_of, is_straight
from cimsim.mac.devices import device_model
from cimsim.mac.devices.measured import MeasuredModel
from cimsim.mac.sources import with_adc
from cimsim.mac.study import study_tile
from cimsim.testing import check_adc_model, check_device_model, check_tile
from tests.mac.helpers import make_tile, normal, program

# Two times, two temperatures: mean and sigma of targets 0 and 10 uS.
ROWS = (
    (1.0, 25.0, 0.0, 0.2, 0.1), (1.0, 25.0, 10.0, 10.0, 0.5),
    (1.0, 85.0, 0.0, 0.4, 0.3), (1.0, 85.0, 10.0, 9.0, 0.7),
    (100.0, 25.0, 0.0, 0.0, 0.3), (100.0, 25.0, 10.0, 8.0, 0.9),
    (100.0, 85.0, 0.0, 0.2, 0.5), (100.0, 85.0, 10.0, 6.0, 1.1),
)  # fmt: skip
CONVERTER: dict[str, Any] = {
    "kind": "measured", "bits": 8, "energy_pj": 1.0, "area_um2": 900.0, "source": "test",
    "rows": ((0.0, 2.0, 0.0), (0.5, 140.0, 1.0), (1.0, 251.0, 2.0)),
}  # fmt: skip


def measured(**fields: Any) -> MeasuredModel:
    device = MeasuredDevice.model_validate({"rows": ROWS, "g_max_us": 10.0, **fields})
    model = device_model(device, 8)
    assert isinstance(model, MeasuredModel)
    return model


@pytest.mark.parametrize(
    ("target", "age_s", "temperature_c", "mean", "sigma"),
    [
        (1.0, 1.0, 25.0, 1.0, 0.05),
        (0.5, 0.0, 25.0, 0.51, 0.03),  # younger than the first read: as then
        (0.5, 10.0, 25.0, 0.455, 0.045),  # 10 s lies midway between 1 and 100 s
        (0.0, 1.0, 55.0, 0.03, 0.02),
        (1.0, 10.0, 55.0, 0.825, 0.08),  # mean of 10, 9, 8 and 6; of 0.5, 0.7, 0.9 and 1.1
    ],
)
def test_moments_are_linear_in_target_and_temperature_and_in_the_logarithm_of_time(
    target: float, age_s: float, temperature_c: float, mean: float, sigma: float
) -> None:
    found = measured().read_back(np.array([target]), age_s, temperature_c)
    np.testing.assert_allclose(found.bias + target, [mean], atol=1e-12)
    np.testing.assert_allclose(found.sigma, [sigma], atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "age_s", "temperature_c", "key"),
    [
        ({}, 100.1, 25.0, "tile.device.age_s"),
        ({}, 1.0, 85.1, "technology.temperature_c"),
        ({}, 1.0, 24.9, "technology.temperature_c"),
        ({"g_max_us": 11.0}, 1.0, 25.0, "tile.device.file"),
    ],
)
def test_nothing_is_extrapolated(
    fields: dict[str, float], age_s: float, temperature_c: float, key: str
) -> None:
    with pytest.raises(CimsimError, match="nothing is extrapolated") as refused:
        measured(**fields).read_back(np.array([0.0, 1.0]), age_s, temperature_c)
    assert refused.value.key == key


def test_levels_lie_between_the_lowest_and_the_highest_conductance() -> None:
    rows = ((1.0, 25.0, 0.0, 0.5, 0.3), (1.0, 25.0, 3.0, 3.0, 0.6))
    model = measured(unit="level", rows=rows, on_off_ratio=4.0, cell_bits=2)
    # Levels are a quarter of g_max wide, from a quarter on: 0.25 + 0.25 level.
    found = model.read_back(np.array([0.25, 0.5, 1.0]), 0.0, 25.0)
    np.testing.assert_allclose(found.bias, [0.125, 0.25 / 3.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(found.sigma, [0.075, 0.1, 0.15], atol=1e-12)


def test_the_bundled_table_gives_the_published_profile_at_its_times() -> None:
    text = "name: a\ntile: {device: {kind: measured, file: reram_wan.csv, g_max_us: 40}}\n"
    device = parse_chip(text, "a.yaml").tile.device
    target = np.arange(17) / 16
    for profile, age_s in (("wan_1s", 0.0), ("wan_1d", 86400.0), ("wan_2d", 172800.0)):
        fit = device_model(make_tile(device={"kind": "reram", "profile": profile}).device, 8)
        found = device_model(device, 8).read_back(target, age_s, 25.0)
        np.testing.assert_allclose(found.sigma, fit.programming(target).sigma, atol=2e-6)
        assert not found.bias.any()


def test_cells_age_by_their_table_and_keep_their_rank() -> None:
    device = {"kind": "measured", "rows": ROWS, "g_max_us": 10.0, "cell_bits": 1}
    single = {"encoding": "offset"}
    tiles = [make_tile(weight=single, device=device | {"age_s": age}) for age in (0.0, 100.0)]
    assert AgeGrid.of(tiles[0], 0.1) == AgeGrid(1.0, 0.1)
    young, old = (cell_tables(tile, 1, tile.device.age_s) for tile in tiles)
    np.testing.assert_allclose(young.bias, [0.02, 0.0], atol=1e-12)
    np.testing.assert_allclose(old.bias, [0.0, -0.2], atol=1e-12)
    weight = normal(np.random.default_rng(0), 64, 8)
    now, later = (c.values * c.grid for c in (program(weight, t).cells for t in tiles))
    high = now > 0.6  # of level 1: sigma from 0.05 to 0.09, mean from 1 to 0.8
    z = (now[high] - 1.0) / 0.05
    np.testing.assert_allclose(later[high], 0.8 + 0.09 * z, atol=1e-2)
    assert high.sum() > 500
    assert abs(z.std() - 1.0) < 0.1


def test_one_time_of_measurement_has_no_age() -> None:
    tile = make_tile(device={"kind": "measured", "rows": ROWS[:2], "g_max_us": 10.0, "age_s": 5.0})
    assert AgeGrid.of(tile, 0.1) is None
    with pytest.raises(CimsimError, match="do not drift"):
        cell_tables(tile, 1, 5.0)


def test_a_measured_transfer_bends_codes_and_its_noise_is_the_mean_power() -> None:
    tile = make_tile(adc=CONVERTER)
    curve = curve_of(tile.adc)
    np.testing.assert_allclose(curve[[0, POINTS // 2, -1]], [2.0, 12.5, -4.0], atol=1e-4)
    np.testing.assert_allclose(curve[POINTS // 4], (2.0 + 12.5) / 2, atol=1e-4)
    # Halves of the range with the mean powers (0 + 1) / 2 and (1 + 4) / 2.
    assert fresh_variance(tile) == pytest.approx(1.5)
    straight = CONVERTER | {"rows": ((0.0, 0.0, 0.5), (1.0, 255.0, 0.5))}
    assert is_straight(make_tile(adc=straight).adc)


def test_a_measured_converter_of_other_bits_has_the_same_transfer_over_its_range() -> None:
    tile = make_tile(adc=CONVERTER)
    other = with_adc(tile, bits=4)
    assert other.adc.rows[1] == pytest.approx((0.5, 140.0 / 17.0, 1.0 / 17.0))
    np.testing.assert_allclose(curve_of(other.adc), curve_of(tile.adc) / 17.0, atol=1e-5)
    x = normal(np.random.default_rng(1), 16, 96)
    weight = normal(np.random.default_rng(0), 96, 4)
    found = study_tile(tile, weight, x)
    assert {s.name: s.alone for s in found.sources}["converter_errors"] > 0.0


def test_batteries_pass_with_measured_cells_and_converters() -> None:
    device = MeasuredDevice(rows=ROWS, g_max_us=10.0)
    assert len(check_device_model(device)) == 7
    assert len(check_adc_model(MeasuredAdc.model_validate(CONVERTER))) == 6
    assert len(check_tile(make_tile(device=device.model_dump(), adc=CONVERTER))) == 7


def test_a_file_is_found_beside_its_chip_and_its_content_is_the_identity(tmp_path: Path) -> None:
    table = (bundled_folder() / "measured" / "reram_wan.csv").read_text()
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "one.csv").write_text(table)
    (tmp_path / "lab" / "same.csv").write_text(table.replace("# Cells", "# Other words"))
    (tmp_path / "lab" / "other.csv").write_text(table.replace("2.5,2.5,1.1894", "2.5,2.5,1.1895"))
    parent = "name: a\ntile: {device: {kind: measured, file: %s, g_max_us: 40}}\n"
    (tmp_path / "child.yaml").write_text("extends: lab/chip.yaml\nname: a\n")
    found = []
    for name in ("one", "same", "other"):
        (tmp_path / "lab" / "chip.yaml").write_text(parent % f"{name}.csv")
        found.append(load_chip(tmp_path / "child.yaml"))
    one, same, other = map(config_hash, found)
    assert one == same != other
    again = parse_chip(dump_yaml(found[0]), "resolved.yaml")
    assert again == found[0]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("time_s,target_us\n1,2\n1,3\n", 1, "names other columns"),
        ("{cells}1,25,0,0,x\n1,25,1,1,0\n", 3, "sigma_us is not a number"),
        ("{cells}1,25,0,0,nan\n1,25,1,1,0\n", 3, "sigma_us is not a number"),
        ("{cells}1,25,0,0\n1,25,1,1,0\n", 3, "another number of fields"),
        ("{cells}1,25,1,1,0\n1,25,1,1,0\n", 4, "targets grow"),
        ("{cells}1,25,1,1,0\n1,25,2,1,-1\n", 4, "not negative"),
        ("{cells}0,25,1,1,0\n1,25,2,1,1\n", 3, "time since programming"),
        ("{cells}1,999,1,1,0\n1,25,2,1,1\n", 3, "temperature_c is"),
        ("{cells}1,25,0,0,0\n1,25,1,1,0\n2,85,0,0,0\n2,85,1,1,0\n", 6, "1 s at 85 C is missing"),
        ("{cells}1,25,0,0,0\n2,25,0,0,0\n1,25,1,1,0\n", 5, "stand together"),
        ("{cells}1,25,0,0,0\n2,25,1,1,0\n", 3, "two targets"),
        ("{cells}1,25,0,0,0\n", None, "two rows or more"),
        ("# nothing\n", None, "holds no table"),
        ('{cells}1,"25,0\n', None, "bad CSV"),
    ],
)
def test_a_table_that_is_unsound_is_refused_where_it_stands(
    text: str, line: int | None, said: str, tmp_path: Path
) -> None:
    header = "# a comment\ntime_s,temperature_c,target_us,mean_us,sigma_us\n"
    (tmp_path / "cells.csv").write_text(text.replace("{cells}", header))
    (tmp_path / "chip.yaml").write_text("tile: {device: {kind: measured, file: cells.csv}}\n")
    with pytest.raises(CimsimError, match=said) as refused:
        load_chip(tmp_path / "chip.yaml")
    assert refused.value.file == str(tmp_path / "cells.csv")
    assert (refused.value.line, refused.value.key) == (line, "tile.device.file")


@pytest.mark.parametrize(
    ("rows", "line", "said"),
    [
        ("0,0,0\n0.5,1,0\n", 3, "the last is 1"),
        ("0,0,0\n1,1,-1\n", 3, "not negative"),
        ("0,0,0\n2,1,0\n", 3, "a share of the range"),
        ("0,2,0\n1,1,0\n", 3, "does not fall"),
        ("0,0,0\n0,1,0\n1,2,0\n", 3, "grows"),
    ],
)
def test_a_transfer_that_is_none_is_refused(
    rows: str, line: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "adc.csv").write_text("input_frac,code_lsb,noise_lsb\n" + rows)
    typed = "energy_pj: 1, area_um2: 9, source: x"
    (tmp_path / "chip.yaml").write_text(
        f"tile: {{adc: {{kind: measured, file: adc.csv, {typed}}}}}\n"
    )
    with pytest.raises(CimsimError, match=said) as refused:
        load_chip(tmp_path / "chip.yaml")
    assert (refused.value.line, refused.value.key) == (line, "tile.adc.file")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("tile.device.kind=measured", "needs a file of measurements"),
        ("tile.device={kind: measured, file: no.csv}", "CSV file not found"),
        ("tile.device={kind: measured, file: reram_wan.csv, drift: {nu: 0.1}}", "drift.nu is not"),
        ("tile.device={kind: measured, file: reram_wan.csv, verify: {tolerance: 1}}", "verify"),
        (
            "tile.adc={kind: measured, file: ramp_8b.csv, energy_pj: 1, area_um2: 9, source: x, "
            "bits: 7}",
            "beyond its 7 bits",
        ),
        (
            "tile.adc={kind: measured, file: ramp_8b.csv, energy_pj: 1, area_um2: 9, source: x, "
            "noise_lsb: 1}",
            "noise_lsb is not",
        ),
    ],
)
def test_a_measured_section_says_what_it_lacks_or_says_twice(override: str, said: str) -> None:
    with pytest.raises(CimsimError, match=said):
        parse_chip("name: a\n", "a.yaml", (override,))
