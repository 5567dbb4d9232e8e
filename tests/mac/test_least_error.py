"""The converter range of least error: hand-computed, and never beaten by a range of its grid."""

from __future__ import annotations

import numpy as np
import pytest

from cimsim.config import Tile
from cimsim.config.load import find_chip, load_chip
from cimsim.mac import calibrate_range, tile_error
from cimsim.mac.formats import formats_of
from cimsim.mac.least_error import SeenSums, is_lossless
from tests.mac.helpers import MATRIX, normal

RANGES = ("auto", "full", "percentile", "fixed")


def _tile(bits: int, kind: str = "auto", **adc: object) -> Tile:
    chosen: dict[str, object] = {"kind": kind}
    if kind == "fixed":
        chosen["levels"] = 30.0
    sections = {"adc": {"kind": "isaac", "bits": bits, "range": chosen, **adc}}
    return Tile.model_validate({**sections, "weight": {"encoding": "offset"}})


def _seen(sums: dict[float, int], tile: Tile) -> SeenSums:
    formats = formats_of(MATRIX, 128, 4, tile)
    levels, counts = np.array(list(sums), dtype=float), np.array(list(sums.values()))
    return SeenSums(levels, counts, tile, formats, signal=1.0)


def test_auto_is_the_default() -> None:
    assert Tile().adc.range.kind == "auto"


def test_rare_large_sums_are_clipped_where_rounding_the_others_costs_more() -> None:
    tile = _tile(4, "auto")
    mostly_small = _seen({float(v): 1000 for v in range(16)} | {100.0: 1}, tile)
    half_large = _seen({100.0: 1000, 3.0: 1000}, tile)
    # Codes of one level: only the single 100 errs, by 85, squared 7225 over 16,001 sums.
    assert mostly_small.best() == 15.0
    assert mostly_small._mean_squares(np.array([1.0]))[0] == pytest.approx(85.0**2 / 16001)
    assert half_large.best() > 90.0


def test_a_quiet_converter_reaches_further_than_a_noisy_one() -> None:
    sums = {float(v): 1 for v in range(40)} | {90.0: 2}
    quiet, noisy = (_seen(sums, _tile(5, noise_lsb=n)) for n in (0.0, 4.0))
    assert noisy.best() < quiet.best()
    extra = noisy._mean_squares(np.array([2.0])) - quiet._mean_squares(np.array([2.0]))
    assert extra[0] == pytest.approx(2.0**2 * 4.0**2)


@pytest.mark.parametrize("bits", [4, 5, 6, 7])
def test_no_other_kind_of_range_errs_less_in_the_sums_that_it_saw(bits: int) -> None:
    rng = np.random.default_rng(bits)
    weight, x = normal(rng, 128, 16), normal(rng, 32, 128)
    found = {kind: calibrate_range(weight, MATRIX, _tile(bits, kind), x) for kind in RANGES}
    least = found["auto"].error
    assert least is not None
    for kind, one in found.items():
        assert one.least_error == least
        assert one.error is not None
        # The grid of ranges is a quarter of an octave wide.
        assert one.error >= 0.9 * least, kind
    assert found["full"].error > least


def test_the_error_of_a_range_is_that_of_the_tile_it_makes() -> None:
    rng = np.random.default_rng(0)
    weight, x = normal(rng, 128, 32), normal(rng, 64, 128)
    tile = _tile(8, "full", noise_lsb=1.0)
    claimed = calibrate_range(weight, MATRIX, tile, x).error
    assert claimed is not None
    assert claimed == pytest.approx(tile_error(tile, weight, x), rel=0.1)
    better = tile_error(_tile(8, noise_lsb=1.0), weight, x)
    assert better is not None
    assert better < 0.8 * claimed


def test_isaac_keeps_the_lossless_range_of_its_paper() -> None:
    chip = load_chip(find_chip("isaac"))
    assert chip.tile.adc.range.kind == "auto"
    weight = normal(np.random.default_rng(0), 128, 8)
    assert is_lossless(chip.tile, formats_of(MATRIX, 128, 8, chip.tile))
    assert calibrate_range(weight, MATRIX, chip.tile).top_levels == 192.0
