"""Conversions that the data decide: columns converted again, reads that no input asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cimsim.chip.tiling import column_layout
from cimsim.config import Tile
from cimsim.mac import AdcRange, MacStatistics, MatrixCounts
from cimsim.mac.search import comparisons
from tests.mac.helpers import keys_of, make_tile, normal, program
from tests.mac.test_twin import _compare, tiles


def pulsed(**sections: Any) -> Tile:
    """Weights of one cell pair, inputs of 7 bits fed as 4 and 3, codes of one level up to 7."""
    base: dict[str, Any] = {
        "weight": {"bits": 4, "encoding": "differential"},
        "input": {"bits": 8, "signed": "two_phase"},
        "dac": {"kind": "pwm", "bits": 4, "recovery_bits": 1},
        "device": {"kind": "ideal", "cell_bits": 3},
        "adc": {"bits": 4, "range": {"kind": "fixed", "levels": 7}},
        "crossbar": {"rows": 8, "cols": 16},
    }
    return make_tile(**(base | sections))


def counted(
    weight: Any, tile: Tile, x: Any, adc_range: AdcRange | None = None
) -> tuple[Any, MatrixCounts, Any]:
    programmed = program(weight, tile, x, adc_range=adc_range)
    statistics = MacStatistics()
    found = programmed.multiply(x, keys_of(len(x)), read_seed=0, statistics=statistics)
    return found, statistics.total, programmed


def test_a_column_out_of_range_is_converted_again_one_bit_at_a_time() -> None:
    """Weights 7, 1 and -7 LSB at an input of 0b101_1101: codes by hand.

    The low cycle feeds 13: 91 levels are beyond 7, so bits 1, 0, 1, 1 are converted, 7 each:
    7 (1 + 4 + 8) = 91. The high cycle feeds 5: 35 beyond 7 -> 7 (1 + 4) = 35. The weight of 1
    gives 13 -> recovered, and 5, which needs no recovery.
    """
    weight = np.array([[7.0, 1.0, -7.0]], dtype=np.float32)
    x = np.array([[93.0 / 127.0], [1.0]], dtype=np.float32)
    tile = pulsed(input={"bits": 8, "signed": "two_phase", "scale": "static"})
    _, counts, programmed = counted(weight, tile, x)
    codes = programmed.codes(x, keys_of(2), read_seed=0)
    assert codes[0, 0].tolist() == [[91, 13, -91], [35, 5, -35], [0, 0, 0], [0, 0, 0]]
    assert codes[0, 1].tolist() == [[105, 15, -105], [49, 7, -49], [0, 0, 0], [0, 0, 0]]
    # Low cycles: three columns x 4 bits, twice. High: two columns x 3 bits, then three: 7 is
    # the highest code, which says nothing of what lies above.
    assert counts.recovered == 2 * 3 * 4 + (2 + 3) * 3
    assert counts.conversions == 2 * 3 * 4 + counts.recovered
    assert counts.clipped == 0
    assert counts.recovery_code_sum == bin(93).count("1") + 7


def test_recovered_products_are_those_of_a_converter_that_holds_every_sum() -> None:
    rng = np.random.default_rng(1)
    weight, x = normal(rng, 20, 5), normal(rng, 9, 20)
    one_level = {"kind": "fixed", "levels": 63}
    narrow = pulsed(adc={"bits": 7, "range": one_level})
    wide = pulsed(adc={"bits": 12, "range": {"kind": "fixed", "levels": 2047}},
                  dac={"kind": "pwm", "bits": 4})  # fmt: skip
    found, counts, _ = counted(weight, narrow, x)
    exact, plain, _ = counted(weight, wide, x)
    np.testing.assert_array_equal(found, exact)
    assert plain.recovered == plain.clipped == counts.clipped == 0
    assert 0 < counts.recovered < 20 / 4 * plain.conversions
    clipping, lost, _ = counted(weight, pulsed(adc={"bits": 7, "range": one_level},
                                               dac={"kind": "pwm", "bits": 4}), x)  # fmt: skip
    assert lost.clipped > 0
    assert not np.array_equal(clipping, exact)


def test_what_no_narrower_cycle_holds_is_clipped() -> None:
    """Eight rows of 7 at input bits of 1 reach 56 levels, beyond 7 in every cycle."""
    weight, x = np.full((8, 1), 7.0, np.float32), np.ones((1, 8), np.float32)
    _, counts, programmed = counted(weight, pulsed(), x)
    assert programmed.codes(x, keys_of(1), read_seed=0)[0, 0, :2].ravel().tolist() == [105, 49]
    assert counts.clipped == counts.recovered == 7


def test_reads_without_an_input_are_skipped_and_their_offset_with_them() -> None:
    """Two groups of two rows; the second has no input, the first none in its negative phase."""
    tile = {
        "weight": {"bits": 4, "encoding": "differential"},
        "input": {"bits": 3, "signed": "two_phase"},
        "device": {"kind": "ideal", "cell_bits": 3},
        "crossbar": {"rows": 8, "cols": 16, "rows_active": 2},
        "adc": {"bits": 8, "offset_lsb": 20.0},
    }
    weight = np.array([[7, 1], [2, 3], [4, 4], [5, 5]], dtype=np.float32)
    x = np.array([[3, 1, 0, 0]], dtype=np.float32)
    _, every, programmed = counted(weight, make_tile(**tile), x)
    tile["input"]["skip_zeros"] = True  # type: ignore[index]
    _, some, skipping = counted(weight, make_tile(**tile), x)
    before, after = (p.codes(x, keys_of(1), read_seed=0)[:, 0] for p in (programmed, skipping))
    np.testing.assert_array_equal(after[0, :2], before[0, :2])
    assert not after[0, 2:].any()
    assert not after[1].any()
    assert before[1].any()  # offsets
    # Two groups, two planes of each sign, two columns; planes of the first group are 1, 1 | 1, 0.
    assert every.conversions == 16
    assert (some.conversions, some.skipped) == (4, 12)


@pytest.mark.parametrize(("skip", "again"), [(True, None), (False, 1), (False, 2), (True, 1)])
def test_fast_tile_and_slow_twin_agree_bit_for_bit(
    skip: bool, again: int | None, scaled: Callable[[int], int]
) -> None:
    @settings(max_examples=scaled(60), deadline=None, derandomize=True, database=None)
    @given(
        tiles(), st.integers(0, 2**40), st.sampled_from([1, 3, 17]),
        st.sampled_from(["binary", "lsb_first"]),
    )  # fmt: skip
    def check(tile: Tile, seed: int, n: int, search: str) -> None:
        data = tile.model_dump()
        data["adc"]["search"] = search
        data["input"]["skip_zeros"] = skip
        data["crossbar"]["rows_active"] = 3
        if again is not None:
            signed = data["input"]["signed"].replace("twos_complement", "shift")
            data["input"] |= {"bits": max(5, data["input"]["bits"]), "signed": signed}
            data["pe"]["accumulate_cycles"] = False
            data["dac"] = {"kind": "pwm", "bits": 3, "recovery_bits": again}
        _compare(Tile.model_validate(data), seed, n)

    check()


def test_results_and_counts_do_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(5)
    weight, x = normal(rng, 30, 6), normal(rng, 8, 30)
    tile = pulsed(
        input={"bits": 8, "signed": "two_phase", "skip_zeros": True},
        crossbar={"rows": 8, "cols": 16, "rows_active": 2},
        device={"kind": "gaussian", "cell_bits": 3, "sigma": 0.1, "sigma_unit": "cell_level",
                "read_noise": {"sigma": 0.1}},
    )  # fmt: skip
    whole, counts, programmed = counted(weight, tile, x)
    together = MacStatistics()
    for t in range(len(x)):
        alone = programmed.multiply(
            x[[t]], keys_of(8).take(np.array([t])), read_seed=0, statistics=together
        )
        np.testing.assert_array_equal(alone[0], whole[t])
    assert counts.skipped > 0
    assert counts.recovered > 0
    for name in ("conversions", "skipped", "recovered", "clipped", "recovery_code_sum"):
        assert getattr(together.total, name) == getattr(counts, name)


def test_such_a_tile_is_computed_in_detail_and_its_error_not_predicted() -> None:
    rng = np.random.default_rng(2)
    weight, x = normal(rng, 20, 5), normal(rng, 9, 20)
    plain = make_tile(crossbar={"rows": 32, "cols": 64})
    skipping = make_tile(crossbar={"rows": 32, "cols": 64}, input={"bits": 8, "skip_zeros": True})
    assert program(weight, plain, x).folds
    assert not program(weight, skipping, x).folds
    assert not program(weight, pulsed(), x).folds


def test_recovery_cycles_by_hand() -> None:
    """Seven bits of each sign as 4 and 3: one bit at a time 7 cycles, two at a time 2 and 2."""
    one, two = pulsed(), pulsed(dac={"kind": "pwm", "bits": 4, "recovery_bits": 2})
    assert (column_layout(one).cycles, column_layout(one).recoveries) == (4, 14)
    assert column_layout(two).recoveries == 8
    assert column_layout(pulsed(dac={"kind": "pwm", "bits": 4})).recoveries == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"dac": {"kind": "pwm", "bits": 1, "recovery_bits": 1}}, "must be less than bits, 1"),
        ({"dac": {"kind": "voltage", "bits": 4, "recovery_bits": 1}}, "needs kind pwm"),
        ({"input": {"bits": 1, "signed": "two_phase"}}, "feed 1 bits have no wider cycle"),
        ({"pe": {"accumulate_cycles": True}}, "none to recover"),
        ({"adc": {"range": {"kind": "auto"}}}, "take fixed or percentile"),
    ],
)  # fmt: skip
def test_contradictions_are_refused_in_a_sentence(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        pulsed(**changed)


def _search(value: float, low: int, high: int) -> tuple[int, int]:
    """Find the code of a value as the converter does: sign, doubling steps, halves."""
    asked, sign, reach = 0, 1, high
    if low < 0:
        asked += 1
        if value < 0.0:
            sign, reach = -1, -low
    magnitude, step, least = sign * value, 1, 0
    while step <= reach:
        asked += 1
        if magnitude < step - 0.5:
            break
        least, step = step, 2 * step
    half = least // 2
    while half >= 1:
        asked += 1
        if magnitude >= least + half - 0.5:
            least += half
        half //= 2
    return sign * least, asked


@pytest.mark.parametrize(("low", "high"), [(0, 15), (-8, 7), (0, 127), (-64, 63), (-2, 1)])
def test_comparisons_are_those_of_the_search_itself(low: int, high: int) -> None:
    found = comparisons(low, high)
    for code in range(low, high + 1):
        assert _search(float(code), low, high) == (code, found[code - low])


def test_comparisons_by_hand() -> None:
    """Four bits: 0 asks the sign and 1; 5 asks the sign, 1, 2, 4 (8 is beyond), 6 and 5."""
    found = comparisons(-8, 7)
    assert [found[code + 8] for code in (0, 1, -1, 3, 5, 7, -8)] == [2, 3, 3, 5, 6, 6, 8]


@pytest.mark.parametrize("again", [None, 1])
def test_comparisons_of_every_code_are_counted(again: int | None) -> None:
    rng = np.random.default_rng(7)
    weight, x = normal(rng, 20, 5), normal(rng, 9, 20)
    dac = {"kind": "pwm", "bits": 4} | ({} if again is None else {"recovery_bits": again})
    adc = {"bits": 7, "range": {"kind": "fixed", "levels": 63}, "search": "lsb_first"}
    found, counts, programmed = counted(weight, pulsed(adc=adc, dac=dac), x)
    same, _, _ = counted(weight, pulsed(adc=adc | {"search": "binary"}, dac=dac), x)
    np.testing.assert_array_equal(found, same)
    assert not programmed.folds
    if again is None:
        codes = programmed.codes(x, keys_of(9), read_seed=0)
        assert counts.searched == comparisons(-64, 63)[codes + 64].sum()
        assert counts.search_cycles == counts.searched / counts.conversions
    else:
        assert counts.searched > 2 * counts.conversions > 2 * counts.recovered > 0


def test_only_successive_approximation_searches() -> None:
    with pytest.raises(ValidationError, match="a flash converter has none"):
        make_tile(adc={"kind": "flash", "bits": 3, "search": "lsb_first"})
