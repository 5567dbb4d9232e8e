"""Yield and intervals over chips and text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.results.chips import LEAST_CHIPS, share_interval, two_way_interval


def test_wilson_interval_is_that_of_a_calculation_by_hand() -> None:
    # 9 of 10, z = 1.959964: middle (0.9 + 0.192073) / 1.384146, half 1.959964
    # sqrt(0.009 + 0.0096036) / 1.384146.
    found = share_interval(9, 10)
    assert (found.mean, found.samples) == (0.9, 10)
    assert (found.low, found.high) == pytest.approx((0.595850, 0.982124), abs=1e-5)


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_ends_are_shares_that_lie_a_tail_away_or_exact(case: tuple[int, int]) -> None:
    passed, n = case
    found = share_interval(passed, n)
    for end in (found.low, found.high):
        assert 0.0 <= end <= 1.0
        if 0.0 < end < 1.0:
            assert (found.mean - end) ** 2 == pytest.approx(
                1.959964**2 * end * (1 - end) / n, rel=1e-5
            )
    assert found.low <= found.mean <= found.high


def test_spread_over_chips_and_over_windows_both_widen_the_interval() -> None:
    draw = np.random.default_rng(0)
    chips, windows = draw.normal(0.0, 0.3, (20, 1)), draw.normal(0.0, 0.3, (1, 30))
    half = {}
    for name, losses in (("chips", chips), ("windows", windows), ("both", chips + windows)):
        found = two_way_interval(2.0 + np.broadcast_to(losses, (20, 30)))
        assert found is not None
        half[name] = (found.high - found.low) / 2
    # 1.96 standard errors of a mean of 20 chips, or of 30 windows; squares add up.
    assert half["chips"] == pytest.approx(1.96 * chips.std() / np.sqrt(20), rel=0.1)
    assert half["windows"] == pytest.approx(1.96 * windows.std() / np.sqrt(30), rel=0.1)
    assert half["both"] == pytest.approx(np.hypot(half["chips"], half["windows"]), rel=0.1)


def test_fewer_than_five_chips_tell_nothing_of_their_spread() -> None:
    assert two_way_interval(np.ones((LEAST_CHIPS - 1, 8))) is None
    found = two_way_interval(np.ones((LEAST_CHIPS, 8)))
    assert found is not None
    assert (found.low, found.mean, found.high) == (1.0, 1.0, 1.0)
