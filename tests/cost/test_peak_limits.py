"""Peak figures obey what a tile shares: no ADC is faster than its rate, no visit than the peak."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cimsim.chip import Unit, UnitKey, build_mesh, tile_matrix
from cimsim.config import ChipConfig
from cimsim.config.load import bundled_folder, load_chip
from cimsim.cost.peak import Peak, peak
from cimsim.cost.timing import visit_timing
from cimsim.stages.peaks import peak_rows
from cimsim.workload.matrix import Matrix, MatrixId
from tests.cost.chips import chip
from tests.cost.test_random_chips import draw_chip

BUNDLED = sorted([*bundled_folder().glob("*.yaml"), *bundled_folder().glob("published/*.yaml")])
TILES = ("chip.tiles=40",)


def sampled_gsps(found: Peak) -> float:
    """Conversions of one ADC a nanosecond at peak."""
    tile, tiles = found.config.tile, found.cost.mesh.n_tiles
    adcs = tiles * tile.pes * tile.adc.per_pe
    return found.conversions / found.timing.interval_ps * 1e3 / adcs


def rounding(config: ChipConfig, interval_ps: int) -> float:
    """What rounding every read of a vector to whole picoseconds may add to a rate."""
    reads = 16 * max(1, config.tile.crossbar.rows // (config.tile.crossbar.rows_active or 1 << 20))
    return 1 + 0.5 * reads * 2 / interval_ps


def with_tiles(config: ChipConfig, tiles: int) -> ChipConfig:
    return config.model_copy(update={"chip": config.chip.model_copy(update={"tiles": tiles})})


@pytest.mark.parametrize(
    ("per_pe", "slower"), [(16, 1), (12, 1), (8, 1), (7, 2), (4, 2), (3, 3), (2, 4), (1, 8)]
)
def test_crossbars_of_a_pe_wait_for_the_adcs_that_they_share(per_pe: int, slower: int) -> None:
    own = peak(load_chip(bundled_folder() / "isaac.yaml", TILES))
    assert own.tops == pytest.approx(39.3216)  # 129 samples at 1.29 GS/s: 100 ns, like a read
    found = peak(load_chip(bundled_folder() / "isaac.yaml", (*TILES, f"tile.adc.per_pe={per_pe}")))
    assert found.tops == pytest.approx(own.tops / slower, rel=1e-12)
    assert found.macs == own.macs
    assert found.conversions == own.conversions
    assert sampled_gsps(found) <= 1.29 * (1 + 1e-9)


def test_reads_come_before_shared_conversions_without_double_buffers() -> None:
    tile = {
        "pes": 1,
        "pe": {"crossbars": 8, "sample_hold": "single"},
        "crossbar": {"rows": 128, "cols": 128, "read_ns": 100},
        "weight": {"bits": 8, "encoding": "offset"},
        "device": {"kind": "ideal", "cell_bits": 2},
    }
    adc = {"kind": "isaac", "rate_gsps": 1.28, "per_pe": 2}
    plain = peak(chip(chip={"tiles": 1}, tile={**tile, "adc": adc}))
    # 8 cycles of 100 ns and the 128 samples of four crossbars.
    assert plain.timing.interval_ps == 8 * (100_000 + 4 * 100_000)
    summed = {**tile["pe"], "accumulate_cycles": True}  # type: ignore[dict-item]
    once = peak(chip(chip={"tiles": 1}, tile={**tile, "adc": adc, "pe": summed}))
    assert once.timing.interval_ps == 8 * 100_000 + 4 * 100_000


@pytest.mark.parametrize(
    ("per_pe", "step_ps"), [(256, 1_470_000), (128, 2_000_000), (4, 64_000_000)]
)
def test_a_published_stage_is_no_shorter_than_its_conversions(per_pe: int, step_ps: int) -> None:
    path = bundled_folder() / "published" / "neurram_peak.yaml"
    found = peak(load_chip(path, (f"tile.adc.per_pe={per_pe}",)))
    assert found.timing.interval_ps == step_ps  # 256 columns at 1 MS/s


@pytest.mark.parametrize("path", BUNDLED, ids=lambda p: p.stem)
@pytest.mark.parametrize("adcs", [None, 1, 3, 12])
def test_no_adc_of_a_bundled_chip_is_faster_than_its_rate(path: Path, adcs: int | None) -> None:
    settings = () if adcs is None else (f"tile.adc.per_pe={adcs}",)
    config = load_chip(path, settings)
    if config.chip.tiles == "fit":
        config = with_tiles(config, 4)
    found = peak(config)
    bound = config.tile.adc.rate_gsps * rounding(config, found.timing.interval_ps)
    assert sampled_gsps(found) <= bound


def draw_unit(config: ChipConfig, seed: int) -> Unit:
    """Draw matrices that lie on crossbars of one PE: of one or two stages, partly filled."""
    rng = np.random.default_rng(seed + 7_000_000)
    fits = tile_matrix(Matrix(MatrixId(0, "up", 0), 1, 1), config.tile).layout.weights_per_crossbar
    rows, left = config.tile.crossbar.rows, config.tile.pe.crossbars
    tilings = []
    for role in ("gate", "up", "down"):
        count = int(rng.integers(0, left + 1)) if role != "gate" else int(rng.integers(1, left + 1))
        if not count:
            continue
        left -= count
        full = rng.random() < 0.5
        n_in = rows if full else int(rng.integers(1, rows + 1))
        n_out = fits * count if full else fits * (count - 1) + int(rng.integers(1, fits + 1))
        tilings.append(tile_matrix(Matrix(MatrixId(0, role, 0), n_in, n_out), config.tile))
    return Unit(UnitKey(0, "experts", 0), tuple(tilings))


def test_no_adc_and_no_visit_of_a_random_chip_is_faster_than_its_peak(
    scaled: Callable[[int], int],
) -> None:
    shared = partly = 0
    for seed in range(scaled(1000)):
        config = with_tiles(draw_chip(seed), 3)
        tile, found = config.tile, peak(config)
        slack = rounding(config, found.timing.interval_ps)
        if tile.crossbar.kind == "analog":
            assert sampled_gsps(found) <= tile.adc.rate_gsps * slack, seed
        shared += tile.crossbar.kind == "analog" and tile.adc.per_pe < tile.pe.crossbars
        partly += found.macs < 3 * tile.crossbars * max_macs(config)
        pe_tops = found.tops / (3 * tile.pes)
        for draw in range(10):
            unit = draw_unit(config, 10 * seed + draw)
            timing = visit_timing(config, unit)
            macs = sum(t.matrix.size for t in unit.tilings)
            slack = rounding(config, timing.interval_ps)
            assert 2 * macs / timing.interval_ps <= pe_tops * slack, (seed, draw)
            assert timing.fill_ps >= 0
    assert shared
    assert partly < scaled(1000) // 2


def max_macs(config: ChipConfig) -> int:
    """MACs of one vector on one full crossbar."""
    layout = tile_matrix(Matrix(MatrixId(0, "up", 0), 1, 1), config.tile).layout
    return config.tile.crossbar.rows * layout.weights_per_crossbar


def test_rows_and_columns_that_cost_a_read_of_their_own_stay_empty_at_peak() -> None:
    tile = {
        "pes": 1,
        "pe": {"crossbars": 1},
        "crossbar": {"rows": 130, "cols": 130, "rows_active": 64, "read_ns": 1},
        "weight": {"bits": 8, "encoding": "offset"},
        "device": {"kind": "ideal", "cell_bits": 8},
        "adc": {"kind": "isaac", "rate_gsps": 1.0, "per_pe": 64},
    }
    found = peak(chip(chip={"tiles": 1}, tile=tile))
    # Two groups of 64 rows, two turns of 64 ADCs; all 130 x 130 would take 3 x 3.
    assert found.macs == 128 * 128
    assert found.timing.interval_ps == 8 * 2 * 2_000
    full = visit_timing(found.config, one_matrix(found.config, 130, 130)).interval_ps
    assert full == 8 * 3 * 3_000


def one_matrix(config: ChipConfig, n_in: int, n_out: int) -> Unit:
    matrix = Matrix(MatrixId(0, "up"), n_in, n_out)
    return Unit(UnitKey(0, "shared"), (tile_matrix(matrix, config.tile),))


@pytest.mark.parametrize("name", ["isaac", "npu_hbm"])
def test_several_chips_have_as_many_times_the_peak_of_one(name: str) -> None:
    path = bundled_folder() / f"{name}.yaml"
    one, three = (load_chip(path, (*TILES, f"system.chips={n}")) for n in (1, 3))
    assert peak(three).tops == pytest.approx(3 * peak(one).tops, rel=1e-12)
    assert peak(three).tops_per_mm2 == pytest.approx(peak(one).tops_per_mm2, rel=1e-9)
    # As run: the tiles of a mesh are those of all chips.
    mesh = build_mesh(three, 1)
    row = peak_rows(three, "a model", mesh, {})[0]
    assert row["peak_tops"] == pytest.approx(3 * peak(one).tops, rel=1e-12)
    assert row["peak_area_mm2"] == pytest.approx(peak(three).area_mm2, rel=1e-12)


def test_a_peak_beyond_the_power_limit_says_so() -> None:
    path = bundled_folder() / "isaac.yaml"
    limited = peak(load_chip(path, (*TILES, "chip.power_limit_w=1")))
    assert limited.tops == peak(load_chip(path, TILES)).tops
    assert any("chip.power_limit_w" in note for note in limited.notes)
    assert not any("power_limit_w" in note for note in peak(load_chip(path, TILES)).notes)


def test_time_that_tiles_are_not_charged_for_is_named() -> None:
    tile, none = (
        peak(load_chip(bundled_folder() / f"{name}.yaml", TILES)).cost.not_modelled()
        for name in ("isaac", "npu_hbm")
    )
    assert sum("tile buses" in text for text in tile) == 1
    assert not any("tile buses" in text for text in none)


def test_a_bus_narrower_than_the_peak_is_named() -> None:
    path = bundled_folder() / "isaac.yaml"
    # 96 vectors of 128 inputs and 32 outputs, 8 bits each, half of them and half of the results
    # counted, in 800 ns at 1.2 GHz: 64 bits per cycle.
    for bits, named in ((64, False), (56, True)):
        found = peak(load_chip(path, (*TILES, f"tile.buffers.bus_bits={bits}")))
        assert any("tile bus is taken to keep up: 64 bits" in n for n in found.notes) == named
