"""Losses of two chips are compared in pairs of chip seeds."""

from __future__ import annotations

from math import e, sqrt
from typing import Any

import pytest

from cimsim.results import Row, loss_change, pair_rows


def seeds(*ppl: float | None) -> list[Row]:
    return [{"chip_seed": i, "ppl_noisy": p, "ppl_calibrated": p} for i, p in enumerate(ppl)]


def chip(name: str, *ppl: float | None, **row: Any) -> tuple[Row, list[Row]]:
    cells: Row = {"config": name, "model": "tiny", "tokens": 512, "context": 64}
    return {**cells, **row}, seeds(*ppl)


def test_what_pairs_share_cancels() -> None:
    # Losses 1, 2, 3 and 1.1, 2.2, 3.3: differences 0.1, 0.2, 0.3, of standard deviation 0.1.
    found = loss_change(seeds(e, e**2, e**3), seeds(e**1.1, e**2.2, e**3.3), "noisy")
    assert found is not None
    assert found.mean == pytest.approx(0.2)
    assert found.high - found.mean == pytest.approx(4.302653 * 0.1 / sqrt(3))
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    equal = loss_change(seeds(5.0, 7.0), seeds(5.0, 7.0), "calibrated")
    assert equal is not None
    assert (equal.mean, equal.low, equal.high) == (0.0, 0.0, 0.0)


def test_only_seeds_that_both_have_are_compared() -> None:
    found = loss_change(seeds(2.0, 3.0), seeds(2.0 * e, 3.0 * e, 90.0), "noisy")
    assert found is not None
    assert found.samples == 2
    assert found.mean == pytest.approx(1.0)


@pytest.mark.parametrize("lost", [None, float("inf")])
def test_a_loss_that_is_not_finite_has_no_difference_and_a_reason(lost: float | None) -> None:
    (row,) = pair_rows([chip("a", 2.0, 3.0), chip("b", lost, 3.0)])
    assert row["loss_change_noisy_mean"] is row["loss_change_calibrated_ci_high"] is None
    assert "not a finite number" in str(row["empty_because"])


def test_chips_are_compared_with_the_first_of_their_model_and_text() -> None:
    rows = pair_rows(
        [
            chip("a", 2.0, 3.0),
            chip("other", 9.0, 9.0, model="large"),
            chip("b", 2.0 * e, 3.0 * e),
            chip("short", 4.0, 4.0, tokens=256),
            chip("c", 2.0, 3.0),
        ]
    )
    assert [(r["config"], r["reference"], r["chip_seeds"]) for r in rows] == [
        ("b", "a", 2),
        ("c", "a", 2),
    ]
    assert rows[0]["loss_change_noisy_mean"] == pytest.approx(1.0)
    assert rows[1]["loss_change_calibrated_mean"] == 0.0
