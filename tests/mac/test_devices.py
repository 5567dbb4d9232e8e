"""Device models give the published spot values, and cells have the moments they promise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cimsim.elementary_arrays import exp_number
from cimsim.errors import CimsimError
from cimsim.mac.cells import CellTables, cell_tables
from cimsim.mac.devices import device_model
from cimsim.mac.formats import formats_of
from cimsim.mac.moments import level_moments, mean_writes
from cimsim.mac.program import read_variance, writer_draws, writer_tables
from cimsim.mac.write import conductances, read_share
from cimsim.mac.writing import Writing
from cimsim.testing.slow_writing import conductance_of_lines
from tests.mac.helpers import FIRST, MATRIX, keys_of, make_tile, normal, program

R = np.array([0.0, 0.25, 0.5, 0.75, 1.0])

# sigma in uS at fractions of g_max: published polynomials evaluated independently
SPOT = [
    ("pcm", "aihwkit", 25.0, [0.2635, 0.6814, 0.9527, 1.0774, 1.0554]),
    ("pcm", "hermes_2dev", 20.7, [0.1660, 0.8888, 0.9910, 0.9124, 1.0927]),
    ("pcm", "hermes_1dev", 10.35, [0.1578, 0.6145, 0.8653, 0.9748, 1.0076]),
    ("pcm", "joshi", 25.0, [0.2864, 0.6907, 0.9553, 1.0802, 1.0655]),
    ("reram", "wan_1s", 40.0, [0.348, 2.258, 2.023, 1.533, 1.103]),
    ("reram", "wan_1d", 40.0, [0.701, 3.721, 3.909, 3.366, 2.651]),
    ("reram", "wan_2d", 40.0, [0.782, 3.664, 3.929, 3.374, 2.677]),
]


def _device(**fields: Any):
    return make_tile(device=fields).device


@pytest.mark.parametrize(("kind", "profile", "g_max_us", "sigma_us"), SPOT)
def test_programming_sigma_at_spot_values(kind, profile, g_max_us, sigma_us) -> None:
    model = device_model(_device(kind=kind, profile=profile), 8)
    found = model.programming(R).sigma * g_max_us
    np.testing.assert_allclose(found, sigma_us, atol=6e-4)


def test_milo_and_crosssim_wan_at_the_ends() -> None:
    milo = device_model(_device(kind="reram", profile="milo"), 8).programming(
        np.array([50 / 225, 1])
    )
    np.testing.assert_allclose(
        milo.sigma * 225, [4.782321 - 0.009107 * 50, 4.782321 - 0.009107 * 225]
    )
    wan = device_model(_device(kind="reram", profile="wan_crosssim"), 8).programming(
        np.array([0.5])
    )
    g = 19.63
    expected = 1.536e-4 * g**3 - 1.167e-2 * g**2 + 0.2374 * g + 1.053
    np.testing.assert_allclose(wan.sigma * 39.26, [expected])


def test_sonos_sigma_at_currents() -> None:
    model = device_model(_device(kind="eflash", profile="sonos_0d"), 8)
    found = model.programming(np.array([100, 500, 3200]) / 3200).sigma * 3200
    np.testing.assert_allclose(found, [8.608, 18.720, 19.887], atol=1e-3)


@pytest.mark.parametrize("full", [3200.0, 1800.0])
def test_sonos_read_noise_at_currents(full: float) -> None:
    """Of the cells of a column of equal weights, through the squares that noise is drawn from."""
    noise = {
        "sigma": 12.58037 / full, "sigma_unit": "frac_gmax", "scaling": "saturating",
        "knee": 215.36557 / full,
    }  # fmt: skip
    tile = make_tile(
        weight={"bits": 9, "encoding": "offset", "scale": "per_column"},
        device={"kind": "eflash", "profile": "sonos_0d", "cell_bits": 8, "read_noise": noise},
    )
    tables = cell_tables(tile, 2, 0.0)
    variance, power = read_variance(tile, formats_of(MATRIX, 4, 4, tile), tables, 25.0)
    for current, sigma in ((100.0, 4.673), (500.0, 11.346), (3200.0, 12.581)):
        share = read_share(current / full, power, noise["knee"])
        found = np.sqrt(variance * share) / tables.to_levels * full
        assert found == pytest.approx(sigma, abs=1.5e-3)


def test_llm_scale_pcm_at_spot_values() -> None:
    model = device_model(_device(kind="pcm", profile="afm"), 8)
    found = model.weight_sigma_lsb(np.array([0.0, 20, 52.5, 100, 180]) / 180) / 127 * 180
    np.testing.assert_allclose(found, [0.0, 5.813, 8.362, 8.425, 19.198], atol=1e-3)


def test_measured_eflash_error_scales_with_the_weight_format() -> None:
    model8 = device_model(_device(kind="eflash"), 8)
    model4 = device_model(_device(kind="eflash"), 4)
    assert model8.weight_sigma_lsb(np.ones(1)) == pytest.approx(2.2)
    assert model4.weight_sigma_lsb(np.ones(1)) == pytest.approx(2.2 / 16)
    hot = device_model(_device(kind="eflash", profile="80c_assumed", temperature_factor=2.0), 8)
    assert hot.weight_sigma_lsb(np.ones(1)) == pytest.approx(4.4)


def test_drift_exponents_follow_the_published_clips() -> None:
    law = device_model(_device(kind="pcm"), 8).drift(np.array([1e-7, 0.1, 1.0]))
    assert law is not None
    assert law.t0_s == 20.0
    np.testing.assert_allclose(law.nu_mean, [0.1, -0.0155 * np.log(0.1) + 0.0244, 0.049])
    np.testing.assert_allclose(law.nu_sigma, [0.045, -0.0125 * np.log(0.1) - 0.0059, 0.008])


def _write(tables: CellTables, level: int, rows: int = 256, columns: int = 512) -> np.ndarray:
    """Conductances of cells that all hold one level."""
    g, stuck = np.empty((rows, columns)), np.empty((rows, columns), np.bool_)
    wq = np.zeros((rows, columns), np.int16)
    offset = np.full(columns, level, np.int64)
    keys = Writing(5, MATRIX).cell_keys
    conductances(
        g, stuck, wq, offset, np.zeros((1, 1, 1), np.bool_), (0, rows, 0, columns, 0, 0, rows),
        (1, 2, False, False, 0, False, 3, False), writer_tables(tables), writer_draws(tables),
        ((*keys[0], *keys[1]), (0, 0, 0, 0)),
    )  # fmt: skip
    slow, _ = conductance_of_lines(np.full((4, columns), level), tables, keys)
    np.testing.assert_array_equal(g[:4], slow)
    return g


@pytest.mark.parametrize("kind", [{"kind": "pcm", "profile": "joshi"}, {"kind": "reram"}])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_written_cells_have_mean_and_sigma_of_their_level(kind, level) -> None:
    tables = cell_tables(make_tile(device={**kind, "cell_bits": 2}), 1, 0.0)
    g = _write(tables, level)
    n = g.size
    assert abs(g.mean() - tables.target[level]) < 4 * tables.sigma[level] / np.sqrt(n)
    assert g.std() == pytest.approx(tables.sigma[level], rel=4 / np.sqrt(2 * n))


def test_cells_at_zero_are_half_rectified() -> None:
    tables = cell_tables(make_tile(device={"kind": "reram", "cell_bits": 2}), 1, 0.0)
    g = _write(tables, 0)
    assert g.mean() == pytest.approx(0.39894 * tables.sigma[0], rel=0.02)
    assert g.std() == pytest.approx(0.58379 * tables.sigma[0], rel=0.02)


@pytest.mark.parametrize("age_s", [0.0, 3600.0, 86400.0, 30 * 86400.0])
def test_drifted_cells_follow_the_power_law_and_flicker(age_s: float) -> None:
    tile = make_tile(device={"kind": "pcm", "cell_bits": 2})
    tables = cell_tables(tile, 1, age_s)
    g = _write(tables, 3)
    rng = np.random.default_rng(0)
    n = 2_000_000
    written = np.maximum(0, 1.0 + tables.sigma[3] * rng.standard_normal(n))
    nu = np.abs(0.049 + 0.008 * rng.standard_normal(n))
    drifted = written * ((age_s + 20.0) / 20.0) ** -nu
    q = np.minimum(0.2, 0.0088 / np.maximum(1e-3, written**0.65))
    growth = np.sqrt(np.log((age_s + 20.0 + 250e-9) / (2 * 250e-9)))
    expected = np.maximum(0, drifted + drifted * q * growth * rng.standard_normal(n))
    assert g.mean() == pytest.approx(expected.mean(), rel=2e-3)
    assert g.std() == pytest.approx(expected.std(), rel=1e-2)


@pytest.mark.parametrize(("attempts", "tolerance"), [(1, 0.2), (2, 0.2), (30, 0.2), (30, 0.05)])
def test_verified_writes_are_normal_errors_cut_at_the_tolerance(
    attempts: int, tolerance: float
) -> None:
    """Accepted writes are a truncated normal; what is not accepted in time is what is left."""
    device = {"kind": "gaussian", "sigma": 0.2, "sigma_unit": "cell_level", "cell_bits": 2}
    tables = cell_tables(
        make_tile(device={**device, "verify": {"tolerance": tolerance, "attempts": attempts}}),
        1, 0.0,
    )  # fmt: skip
    error = (_write(tables, 2) - 2 / 3) * 3
    a = tolerance / 0.2
    accept = 2 * stats.norm.cdf(a) - 1
    inside = np.abs(error) <= tolerance
    stays = 1 - (1 - accept) ** attempts
    assert inside.mean() == pytest.approx(stays, abs=4 * np.sqrt(0.25 / error.size))
    assert error[inside].std() == pytest.approx(0.2 * stats.truncnorm.std(-a, a), rel=0.02)
    mean, variance = level_moments(tables)
    assert mean[2] == pytest.approx(2.0, abs=1e-3)
    assert variance[2] == pytest.approx(error.var(), rel=0.03)
    writes = mean_writes(tables)[2]
    assert writes == pytest.approx(stays / accept, rel=0.02)


def test_drift_keeps_the_frozen_pattern_along_its_trajectory() -> None:
    rng = np.random.default_rng(0)
    weight = normal(rng, 64, 16)
    tile = make_tile(device={"kind": "gaussian", "sigma": 0.1, "sigma_unit": "cell_level",
                             "drift": {"nu": 0.05, "nu_sigma": 0.01}})  # fmt: skip
    programmed = program(weight, tile)
    assert programmed.ages
    first = programmed.cells.values * programmed.cells.grid
    hour = programmed.at(3600.0)
    day = hour.at(86400.0)
    again = program(weight, tile, writing=replace(FIRST, age_s=86400.0))
    np.testing.assert_array_equal(day.cells.values, again.cells.values)
    later = [c.cells.values * c.cells.grid for c in (hour, day)]
    assert np.corrcoef(first.ravel(), later[1].ravel())[0, 1] > 0.99
    assert np.abs(first).mean() > np.abs(later[0]).mean() > np.abs(later[1]).mean()


def test_global_compensation_restores_the_mean_conductance() -> None:
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 128, 16), normal(rng, 64, 128)
    from cimsim.mac import ideal_integer
    from tests.mac.helpers import keys_of

    def slope(compensation: str) -> float:
        tile = make_tile(
            device={"kind": "ideal", "cell_bits": 2, "drift": {"nu": 0.06}, "age_s": 86400.0,
                    "drift_compensation": compensation},
            adc={"kind": "isaac", "bits": 14},
            pe={"accumulate_cycles": True},
        )  # fmt: skip
        exact = ideal_integer(weight, tile).multiply(x, keys_of(64)).ravel()
        found = program(weight, tile).multiply(x, keys_of(64), read_seed=0).ravel()
        return float(found @ exact / (exact @ exact))

    assert slope("none") == pytest.approx((1 + 86400.0) ** -0.06, rel=0.02)
    assert slope("global") == pytest.approx(1.0, rel=5e-3)


def test_stuck_cells_add_the_predicted_error() -> None:
    tile = make_tile(
        device={"kind": "ideal", "cell_bits": 2, "stuck_low": 0.03, "stuck_high": 0.02}
    )
    g = _write(cell_tables(tile, 1, 0.0), 2)
    off, on = np.mean(g == 0.0), np.mean(g == 1.0)
    assert off == pytest.approx(0.03, abs=4 * np.sqrt(0.03 / g.size))
    assert on == pytest.approx(0.02, abs=4 * np.sqrt(0.02 / g.size))
    # mean square error of level 2 of 3: a third of g_max too low, or two thirds too high
    assert np.mean((g - 2 / 3) ** 2) == pytest.approx(0.02 / 9 + 0.03 * 4 / 9, rel=0.03)


def test_the_same_cells_are_stuck_after_every_write() -> None:
    tile = make_tile(
        device={"kind": "gaussian", "sigma": 0.01, "sigma_unit": "frac_gmax", "stuck_high": 0.05}
    )
    exact = make_tile(device={"kind": "ideal"})
    weight = normal(np.random.default_rng(0), 64, 16)
    ideal = program(weight, exact).cells
    errors = [
        np.abs(c.values * c.grid - ideal.values * ideal.grid)
        for c in (program(weight, tile, writing=replace(FIRST, count=n)).cells for n in (0, 7))
    ]
    assert not np.array_equal(*errors)  # other programming errors
    # 1 % of the range is 0.03 levels: more than half a level off is stuck.
    first, again = (e > 0.5 for e in errors)
    assert 0 < first.mean() < 0.1
    np.testing.assert_array_equal(first, again)


def test_rewriting_a_programmed_matrix_equals_programming_it_anew() -> None:
    tile = make_tile(
        device={"kind": "pcm", "cell_bits": 4, "age_s": 50.0},
        weight={"bits": 8},
    )
    weight = normal(np.random.default_rng(1), 40, 12)
    first = program(weight, tile)
    for age_s in (0.0, 50.0):
        writing = replace(FIRST, count=5, slot=9, age_s=age_s)
        again = first.rewritten(writing)
        anew = program(weight, tile, writing=writing)
        np.testing.assert_array_equal(again.cells.values, anew.cells.values)
        x = normal(np.random.default_rng(2), 3, 40)
        products = [c.multiply(x, keys_of(3), read_seed=1) for c in (again, anew)]
        np.testing.assert_array_equal(*products)


def test_temperature_scales_errors_with_the_same_pattern() -> None:
    rng = np.random.default_rng(0)
    weight = normal(rng, 64, 16)
    base = {"kind": "gaussian", "sigma": 0.01, "sigma_unit": "frac_gmax", "on_off_ratio": 10.0}
    tile = make_tile(device={**base, "temperature": {"sigma_per_c": 0.02}})

    def errors(temperature_c: float) -> np.ndarray:
        cells = program(weight, tile, writing=replace(FIRST, temperature_c=temperature_c)).cells
        exact = program(weight, make_tile(device={"kind": "ideal", "on_off_ratio": 10.0})).cells
        return (cells.values * cells.grid - exact.values * exact.grid).astype(np.float64).ravel()

    np.testing.assert_allclose(errors(75.0), 2.0 * errors(25.0), atol=2e-3)


def test_exponential_is_accurate() -> None:
    for x in np.linspace(0.0, 40.0, 1001):
        assert exp_number(-x) == pytest.approx(np.exp(-x), rel=1e-13)


@pytest.mark.parametrize(
    "device",
    [
        {"kind": "gaussian", "sigma": 1.0, "sigma_unit": "weight_lsb", "cell_bits": 2},
        {"kind": "eflash", "cell_bits": 4},
        {"kind": "pcm", "profile": "afm", "cell_bits": 2},
        {"kind": "ideal", "stuck_low": 0.6, "stuck_high": 0.6},
        {"kind": "reram", "age_s": 10.0},
        {"kind": "ideal", "verify": {"tolerance": 0.1}},
        {"kind": "eflash", "cell_bits": 8, "verify": {"tolerance": 0.1}},
        {"kind": "pcm", "drift": {"nu": 0.1}},
        {"kind": "reram", "drift_compensation": "global"},
        {"kind": "eflash", "cell_bits": 8, "temperature_factor": 2.0},
        {"kind": "eflash", "profile": "sonos_0d", "sigma_lsb": 1.0},
        {"kind": "eflash", "profile": "sonos_0d", "mean_lsb": 0.1},
        {"kind": "eflash", "profile": "sonos_5d", "gain": 0.99},
        {"kind": "custom", "model": "no_such_model"},
        {"kind": "custom", "model": "x", "module": "no_such_module_at_all"},
    ],
)
def test_devices_that_make_no_sense_are_refused_by_name(device) -> None:
    with pytest.raises(CimsimError) as caught:
        program(np.ones((4, 4), np.float32), make_tile(device=device))
    assert caught.value.key is not None
    assert caught.value.key.startswith("tile.device")
