"""Statistics against hand-computed values, properties and tables of Student's t."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cimsim.errors import CimsimInternalError
from cimsim.results import pareto_front
from cimsim.results.statistics import (
    gini,
    load_cv,
    max_over_mean,
    mean_interval,
    paired_difference,
    percentile,
    t_quantile,
    topk_agreement,
    total_variation,
)

finite = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("degrees", "table"), [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (120, 1.980)]
)
def test_t_quantile_matches_printed_tables(degrees: int, table: float) -> None:
    assert t_quantile(0.975, degrees) == pytest.approx(table, abs=6e-4)


def test_interval_of_three_samples_by_hand() -> None:
    # mean 2, s = 1, half = 4.303 / sqrt(3) = 2.484
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2.0
    assert interval.low == pytest.approx(2 - 2.4841, abs=1e-3)
    assert interval.high == pytest.approx(2 + 2.4841, abs=1e-3)


def test_one_seed_has_no_interval() -> None:
    interval = mean_interval([15.2])
    assert (interval.low, interval.mean, interval.high) == (15.2, 15.2, 15.2)


def test_equal_samples_have_an_interval_of_no_width() -> None:
    interval = mean_interval([0.1, 0.1, 0.1])
    assert (interval.low, interval.mean, interval.high) == (0.1, 0.1, 0.1)


@given(st.lists(finite, min_size=2, max_size=12), st.floats(-1e3, 1e3))
def test_interval_contains_the_mean_and_moves_with_the_samples(
    values: list[float], shift: float
) -> None:
    interval = mean_interval(values)
    moved = mean_interval([v + shift for v in values])
    assert interval.low <= interval.mean <= interval.high
    assert moved.mean == pytest.approx(interval.mean + shift, abs=1e-6)
    assert moved.high - moved.low == pytest.approx(interval.high - interval.low, abs=1e-5)


def test_pairing_finds_what_spread_between_chips_hides() -> None:
    noisy, calibrated = [10.0, 20.0, 30.0], [9.0, 19.1, 28.9]
    paired = paired_difference(noisy, calibrated)
    assert paired.difference.mean == pytest.approx(-1.0)
    assert paired.significant
    assert mean_interval(noisy).low < mean_interval(calibrated).mean


def test_one_chip_is_never_significant() -> None:
    assert not paired_difference([10.0], [5.0]).significant


def test_no_difference_is_not_significant() -> None:
    assert not paired_difference([10.0, 12.0], [10.0, 12.0]).significant


def test_pairs_of_unequal_length_are_refused() -> None:
    with pytest.raises(CimsimInternalError, match="same chips"):
        paired_difference([1.0, 2.0], [1.0])


def test_p99_needs_a_hundred_samples() -> None:
    assert percentile(np.arange(99.0), 99) is None
    assert percentile(np.arange(100.0), 99) == pytest.approx(98.01)
    assert percentile([4.0], 50) == 4.0


def test_percentile_of_nothing_or_of_nan_is_refused() -> None:
    for values in ([], [1.0, float("nan")]):
        with pytest.raises(CimsimInternalError, match="finite samples"):
            percentile(values, 50)


def test_loads_by_hand() -> None:
    even, one = [2, 2, 2, 2], [8, 0, 0, 0]
    assert load_cv([even, one]).tolist() == [0.0, pytest.approx(np.sqrt(3))]
    assert max_over_mean([even, one]).tolist() == [1.0, 4.0]
    assert gini([even, one]).tolist() == [0.0, pytest.approx(0.75)]
    assert total_variation([even], [one]).tolist() == [0.75]
    # 1, 2, 3: G = 2 (1 + 4 + 9) / (3 x 6) - 4/3 = 2/9
    assert gini([[3, 1, 2]]).tolist() == [pytest.approx(2 / 9)]


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=20), st.integers(2, 9))
def test_load_measures_ignore_scale_and_order(loads: list[int], factor: int) -> None:
    assume(sum(loads) > 0)
    other = [v * factor for v in reversed(loads)]
    for measure in (load_cv, gini, max_over_mean):
        assert measure([loads])[0] == pytest.approx(measure([other])[0], abs=1e-9)
    assert 0 <= gini([loads])[0] <= (len(loads) - 1) / len(loads) + 1e-12


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=2, max_size=9))
def test_total_variation_is_a_distance(pairs: list[tuple[int, int]]) -> None:
    p, q = [a for a, _ in pairs], [b for _, b in pairs]
    assume(sum(p) and sum(q))
    distance = total_variation([p], [q])[0]
    assert 0 <= distance <= 1
    assert distance == pytest.approx(total_variation([q], [p])[0])
    assert total_variation([p], [p])[0] == 0


def test_loads_without_visits_are_refused() -> None:
    with pytest.raises(CimsimInternalError, match="visits in every layer"):
        load_cv([[1, 2], [0, 0]])


def test_agreement_counts_kept_experts_in_any_order() -> None:
    clean = np.array([[[0, 1], [4, 5]], [[2, 3], [6, 7]]], dtype=np.int16)  # [2, 2, 2]
    noisy = np.array([[[1, 0], [4, 9]], [[2, 9], [8, 9]]], dtype=np.int16)
    assert topk_agreement(clean, noisy).tolist() == [0.75, 0.25]
    assert topk_agreement(clean, noisy, block=1).tolist() == [0.75, 0.25]
    assert topk_agreement(clean, clean).tolist() == [1.0, 1.0]


def test_agreement_of_different_shapes_is_refused() -> None:
    with pytest.raises(CimsimInternalError, match="two routings"):
        topk_agreement(np.zeros((2, 1, 1), np.int16), np.zeros((3, 1, 1), np.int16))


def test_front_by_hand_with_mixed_directions_and_ties() -> None:
    points = [[10, 5], [12, 5], [10, 4], [9, 9], [10, 5], [8, 1]]  # perplexity, tokens/s
    front = pareto_front(points, ("lower", "higher"))
    assert front.tolist() == [False, False, False, True, False, True]
    # Equal points do not push each other off the front.
    assert pareto_front([[1, 1], [1, 1], [2, 2]], ("lower", "lower")).tolist() == [
        True,
        True,
        False,
    ]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=15))
def test_front_is_what_no_point_beats(points: list[tuple[int, int]]) -> None:
    front = pareto_front(points, ("lower", "lower"))
    assert front.any()
    for i, (x, y) in enumerate(points):
        beaten = any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)
        assert front[i] == (not beaten)


def test_front_of_nan_is_refused() -> None:
    with pytest.raises(CimsimInternalError, match="finite"):
        pareto_front([[1.0, float("nan")]], ("lower", "lower"))
