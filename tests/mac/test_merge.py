"""Slices that are summed before one conversion: numbers, mismatch and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.chip.tiling import column_layout
from cimsim.config.load import find_chip, load_chip
from cimsim.errors import CimsimError
from cimsim.mac import AdcRange, Writing, knobs_without_effect
from cimsim.mac.adc import full_range_levels
from cimsim.mac.encode import encode
from cimsim.mac.merge import merge_ratios
from tests.mac.helpers import FIRST, MATRIX, keys_of, make_tile, normal, program
from tests.mac.test_twin import _compare, tiles

MERGES = ({"kind": "binary"}, {"kind": "c2c"}, {"kind": "binary", "sigma": 0.05},
          {"kind": "c2c", "sigma": 0.05})  # fmt: skip


def merged(merge: dict[str, Any], **sections: Any) -> Any:
    base: dict[str, Any] = {
        "weight": {"bits": 6, "encoding": "differential"},
        "input": {"bits": 4, "signed": "two_phase"},
        "crossbar": {"rows": 16, "cols": 64},
        "device": {"kind": "ideal", "cell_bits": 1},
        "adc": {"kind": "isaac", "bits": 14},
    }
    pe = {"merge": merge, **sections.pop("pe", {})}
    return make_tile(**(base | sections), pe=pe)


def test_fast_tile_and_slow_twin_agree_bit_for_bit(scaled: Callable[[int], int]) -> None:
    @settings(max_examples=scaled(300), deadline=None, derandomize=True, database=None)
    @given(tiles(), st.sampled_from(MERGES), st.integers(0, 2**40), st.sampled_from([1, 3, 17]))
    def check(tile: Any, merge: dict[str, Any], seed: int, n: int) -> None:
        data = tile.model_dump()
        data["pe"]["merge"] = merge
        data["adc"]["range"] = {"kind": "full"}
        data["weight"]["encoding"] = data["weight"]["encoding"].replace("isaac", "offset")
        _compare(type(tile).model_validate(data), seed, n)

    check()


@pytest.mark.parametrize("kind", ["binary", "c2c"])
@pytest.mark.parametrize("subtract", ["analog", "digital"])
def test_without_mismatch_and_with_bits_enough_products_are_exact(kind: str, subtract: str) -> None:
    rng = np.random.default_rng(3)
    weight, x = normal(rng, 40, 5), normal(rng, 7, 40)
    tile = merged({"kind": kind}, pe={"subtract": subtract}, adc={"kind": "isaac", "bits": 16})
    held = program(weight, tile, x)
    apart = program(weight, merged({"kind": "none"}, pe={"subtract": subtract}), x)
    keys = keys_of(7)
    np.testing.assert_array_equal(
        held.multiply(x, keys, read_seed=0), apart.multiply(x, keys, read_seed=0)
    )


def test_one_conversion_serves_all_slices() -> None:
    for encoding, subtract, apart in (
        ("differential", "analog", 5), ("differential", "digital", 10), ("offset", "analog", 6),
    ):  # fmt: skip
        weight = {"bits": 6, "encoding": encoding}
        pe = {"subtract": subtract}
        plain = column_layout(merged({"kind": "none"}, weight=weight, pe=pe))
        found = column_layout(merged({"kind": "binary"}, weight=weight, pe=pe))
        assert plain.converted_per_weight == apart
        assert found.converted_per_weight == (2 if subtract == "digital" else 1)
        assert found.columns_per_weight == plain.columns_per_weight  # area follows the devices


def test_ratios_by_hand() -> None:
    """Two slices of two bits: 1 and 4 units, or a division between them."""
    weight = np.full((1, 1), 1.0, dtype=np.float32)
    sections: dict[str, Any] = {
        "weight": {"bits": 4, "encoding": "offset"}, "device": {"kind": "ideal", "cell_bits": 2},
    }  # fmt: skip
    found = {}
    for kind in ("binary", "c2c"):
        tile = merged({"kind": kind, "sigma": 0.1}, **sections)
        formats = encode(weight, MATRIX, tile).formats
        found[kind] = merge_ratios(tile, formats, FIRST)[0, :, 0, 0]
    low, high = found["binary"]
    z = ((low - 1.0) / 0.1, (high / 4.0 - 1.0) * 2.0 / 0.1)
    assert found["c2c"] == pytest.approx([1.0 + 0.1 * z[1], 4.0])


def test_mismatch_has_its_spread_and_is_frozen_in_silicon() -> None:
    rng = np.random.default_rng(0)
    weight = normal(rng, 16, 2000)
    tile = merged({"kind": "binary", "sigma": 0.02}, crossbar={"rows": 16, "cols": 8192})
    formats = encode(weight, MATRIX, tile).formats
    ratios = merge_ratios(tile, formats, FIRST)[0, :, 0]
    for s in range(5):
        error = ratios[s] / 2.0**s - 1.0
        assert np.std(error) == pytest.approx(0.02 / 2 ** (s / 2), rel=0.06)
    again = merge_ratios(tile, formats, Writing(0, MATRIX, count=5, age_s=9.0))[0, :, 0]
    np.testing.assert_array_equal(again, ratios)
    other = merge_ratios(tile, formats, Writing(1, MATRIX))[0, :, 0]
    assert not np.array_equal(other, ratios)


def test_more_mismatch_errs_more() -> None:
    rng = np.random.default_rng(1)
    weight, x = normal(rng, 64, 32), normal(rng, 32, 64)
    exact = program(weight, merged({"kind": "c2c"}), x).multiply(x, keys_of(32), read_seed=0)
    errors = []
    for sigma in (0.0, 0.01, 0.05, 0.2):
        tile = merged({"kind": "c2c", "sigma": sigma})
        y = program(weight, tile, x).multiply(x, keys_of(32), read_seed=0)
        errors.append(float(np.mean((y - exact) ** 2)))
    assert errors[0] == 0.0
    assert errors == sorted(errors)


def test_range_covers_the_merged_weight() -> None:
    formats = encode(np.ones((4, 1), np.float32), MATRIX, merged({"kind": "binary"})).formats
    # 4 rows of 31 levels at the greatest code of one bit.
    assert full_range_levels(formats) == 4 * 31


def test_a_weight_wider_than_the_range_is_refused() -> None:
    tile = merged(
        {"kind": "binary"}, adc={"kind": "isaac", "range": {"kind": "fixed", "levels": 20}}
    )
    weight = np.ones((4, 1), np.float32)
    with pytest.raises(CimsimError, match="wider than its range") as caught:
        program(weight, tile, adc_range=AdcRange(20.0))
    assert "at least 31 levels" in caught.value.sentence()


def test_complements_cannot_be_merged() -> None:
    with pytest.raises(CimsimError, match="cannot be merged"):
        column_layout(merged({"kind": "c2c"}, weight={"bits": 6, "encoding": "isaac"}))


@pytest.mark.parametrize(
    ("chip", "overrides"),
    [("eflash_40nm", ()), ("sram_digital_28nm", ())],
)
def test_a_merge_of_nothing_is_warned_of(chip: str, overrides: tuple[str, ...]) -> None:
    found = load_chip(find_chip(chip), (*overrides, "tile.pe.merge={kind: binary}"))
    assert any("tile.pe.merge has no effect" in warning for warning in knobs_without_effect(found))
