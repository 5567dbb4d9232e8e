"""Shares of variance against values worked out by hand and by Monte Carlo."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.config.load import find_chip, load_chip
from cimsim.sweeps.axes import Dimension
from cimsim.sweeps.effects import knob_effects
from cimsim.sweeps.points import Point
from cimsim.sweeps.standing import Standing

CHIP = load_chip(find_chip("isaac"))


def standings(rows: list[tuple[dict[str, object], float]]) -> list[Standing]:
    """Return points with settings and one column y."""
    return [
        Standing(Point(f"p{i}", "isaac", "", tuple(s.items()), CHIP), "meets", 0, "", {"y": y})
        for i, (s, y) in enumerate(rows)
    ]


def axis(name: str, *values: object) -> Dimension:
    return Dimension((name,), tuple((v,) for v in values))


def test_shares_of_a_grid_are_those_of_the_sums_of_squares() -> None:
    # y = 3a + b with a, b in +-1: variances 9 and 1.
    rows = [({"a": a, "b": b}, 3.0 * a + b) for a, b in product((-1, 1), (-1, 1))]
    a, b = knob_effects(standings(rows), (axis("a", -1, 1), axis("b", -1, 1)), "y", whole_grid=True)
    assert (a.share, b.share) == pytest.approx((0.9, 0.1))
    assert (a.means, b.means) == ((-3.0, 3.0), (-1.0, 1.0))
    assert a.spread == ((-4.0, -2.0), (2.0, 4.0))
    # Knobs of two values are not taken from: the share is that of the grid.
    assert (a.low, a.high) == pytest.approx((0.9, 0.9))


def test_the_interval_of_a_grid_is_its_range_without_a_value_of_another_knob() -> None:
    # y = a b^2: without b = 0 or with it, a explains more or less.
    rows = [({"a": a, "b": b}, float(a * b * b)) for a, b in product((-1, 1), (0, 1, 2))]
    a, _ = knob_effects(
        standings(rows), (axis("a", -1, 1), axis("b", 0, 1, 2)), "y", whole_grid=True
    )
    # Means of b^2 and of b^4: 5/3 and 17/3 of all, 5/2 and 17/2 without 0, 2 and 8, 1/2 and 1/2.
    assert a.share == pytest.approx((5 / 3) ** 2 / (17 / 3))
    assert a.low == a.share  # without 1 or 2 it is 1/2
    assert a.high == pytest.approx((5 / 2) ** 2 / (17 / 2))


def test_what_knobs_do_together_is_nobodys_share() -> None:
    rows = [({"a": a, "b": b}, float(a * b)) for a, b in product((-1, 1), (-1, 1))]
    found = knob_effects(
        standings(rows), (axis("a", -1, 1), axis("b", -1, 1)), "y", whole_grid=True
    )
    assert [e.share for e in found] == [0.0, 0.0]


def test_shares_of_samples_are_right_on_average_and_intervals_hold_the_true_ones() -> None:
    # Variances of 4 x, 2 x and noise: 16/12, 4/12 and 0.1; eight classes see 1 - 1/64 of them.
    true = np.array([16 / 12, 4 / 12, 0.0]) / (20 / 12 + 0.1) * (1 - 1 / 64)
    axes = (axis("a"), axis("b"), axis("c"))
    shares, held = [], 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.random((400, 3))
        y = 4 * x[:, 0] + 2 * x[:, 1] + rng.normal(0, 0.1**0.5, 400)
        rows = [({"a": r[0], "b": r[1], "c": r[2]}, v) for r, v in zip(x.tolist(), y, strict=True)]
        found = knob_effects(standings(rows), axes, "y", whole_grid=False)
        shares.append([e.share for e in found])
        held += sum(e.low <= t <= e.high for e, t in zip(found[:2], true, strict=False))
    assert np.mean(shares, axis=0) == pytest.approx(true, abs=0.02)
    assert held >= 0.8 * 40


def test_names_are_levels_too_and_a_constant_has_no_effects() -> None:
    rows = [({"k": k}, y) for k, y in (("hbm2", 1.0), ("none", 5.0), ("hbm2", 2.0), ("none", 6.0))]
    (effect,) = knob_effects(standings(rows), (axis("k"),), "y", whole_grid=False)
    assert effect.levels == ("hbm2", "none")
    assert effect.means == (1.5, 5.5)
    still = [({"k": k}, 1.0) for k in ("a", "b", "c")]
    assert knob_effects(standings(still), (axis("k"),), "y", whole_grid=True) == ()


@given(st.lists(st.floats(-1e3, 1e3), min_size=12, max_size=12))
def test_shares_of_any_grid_are_shares_and_sum_to_one_at_most(values: list[float]) -> None:
    grid = list(product((1, 2, 3), (1, 2), ("x", "y")))
    rows = [({"a": a, "b": b, "c": c}, y) for (a, b, c), y in zip(grid, values, strict=True)]
    axes = (axis("a", 1, 2, 3), axis("b", 1, 2), axis("c", "x", "y"))
    found = knob_effects(standings(rows), axes, "y", whole_grid=True)
    assert all(0 <= e.low <= e.share <= e.high <= 1 for e in found)
    assert sum(e.share for e in found) <= 1 + 1e-9
