"""Power at peak: the densities it is charged at, and the cooling it asks for."""

from __future__ import annotations

import pytest

from cimsim.config.bundled import find_published
from cimsim.config.load import load_chip
from cimsim.cost.cooling import cooling_of
from cimsim.cost.counts import Density
from cimsim.cost.density import charged_density
from cimsim.cost.peak import Peak, peak
from cimsim.cost.peak_report import as_dict, power_warning
from cimsim.cost.without_effect import knobs_without_effect


def peak_of(name: str, *settings: str, density: Density | None = None) -> Peak:
    return peak(load_chip(find_published(name), settings), density)


@pytest.mark.parametrize(
    ("w_per_mm2", "cooling"),
    [
        (0.0, "air"),
        (0.86, "air"),
        (1.0, "air"),
        (1.01, "microchannels"),
        (7.9, "microchannels"),
        (7.91, "none known"),
    ],
)
def test_cooling_follows_power_density(w_per_mm2: float, cooling: str) -> None:
    assert cooling_of(w_per_mm2) == cooling


def test_power_of_raella_is_that_of_its_cells() -> None:
    """743 tiles x 32 crossbars x 512^2 cells, 2 reads of mean 7.5 ns, each 230 ns, 0.2 V."""
    found = peak_of("raella_peak")
    level = 0.5 + 0.5 / 15  # digits are uniform in single cells, the lowest conducts 1/15
    cell_fj = level * 750 * 0.04 * 15 * 0.5
    cells = 743 * 32 * 512 * 512
    assert found.power_mw("crossbar") == pytest.approx(cells * 2 * cell_fj / 230e3)
    assert found.w_per_mm2 == pytest.approx(found.power_w / found.area_mm2)


def test_warning_says_power_area_and_limits_and_a_cool_chip_has_none() -> None:
    """A tenth of the reads per second brings the same chip under each limit in turn."""
    hot, warm, cool = (
        peak_of("raella_peak", f"cost.stage_interval_ns={ns}") for ns in (115, 1150, 11500)
    )
    said = power_warning(hot)
    assert said is not None
    assert said.startswith("no known cooling takes 6,744 W on 454.9 mm2, 14.8 W/mm2")
    assert "(air about 1, water in microchannels 7.9)" in said
    said = power_warning(warm)
    assert said is not None
    assert said.startswith("air does not cool")
    assert power_warning(cool) is None
    assert as_dict(hot)["warnings"] == [power_warning(hot)]
    assert [as_dict(p)["cooling"] for p in (hot, warm, cool)] == [
        "none known",
        "microchannels",
        "air",
    ]


def test_density_of_the_chip_file_wins_over_measured_and_default() -> None:
    measured = Density(0.2, 0.3)
    plain = load_chip(find_published("raella_peak"))
    assert charged_density(plain, measured) == measured
    both = load_chip(
        find_published("raella_peak"),
        ("cost.input_bit_density=0.1", "cost.mean_level_fraction=0.4"),
    )
    assert charged_density(both, measured) == Density(0.1, 0.4, "chip file")
    assert charged_density(both) == Density(0.1, 0.4, "chip file")
    one = load_chip(find_published("raella_peak"), ("cost.input_bit_density=0.1",))
    assert charged_density(one, measured) == Density(0.1, 0.3, "chip file and measured")


def test_energy_of_cells_follows_the_density_of_the_chip_file() -> None:
    base = peak_of("raella_peak", "cost.input_bit_density=0.5", "cost.mean_level_fraction=0.4")
    half = peak_of("raella_peak", "cost.input_bit_density=0.25", "cost.mean_level_fraction=0.4")
    assert half.power_mw("crossbar") == pytest.approx(base.power_mw("crossbar") / 2)
    same = peak_of("raella_peak", density=Density(0.25, 0.4))
    assert same.power_w == pytest.approx(half.power_w)


@pytest.mark.parametrize(
    ("name", "depends"),
    [
        ("isaac_peak", False),  # powers of a table
        ("colonnade_peak", False),  # measured energy per bit
        ("neurram_peak", False),  # measured energy per cell and a driver
        ("npu_hbm_peak", False),  # no crossbars
        ("hermes_peak", True),
        ("sram_digital_28nm_peak", True),
    ],
)
def test_density_is_stated_where_energy_depends_on_it(name: str, *, depends: bool) -> None:
    assert (peak_of(name).density is not None) == depends
    other = peak_of(name, "cost.input_bit_density=0.9", "cost.mean_level_fraction=0.9")
    assert (other.power_w != peak_of(name).power_w) == depends
    said = [
        n for n in knobs_without_effect(other.config) if "density" in n or "level_fraction" in n
    ]
    assert len(said) == (0 if depends else 2)
