"""Chips described before they were run: factors by hand, and what was recorded stays."""

from __future__ import annotations

import json

import pytest

from cimsim.config.load import bundled_folder, load_chip
from cimsim.cost.from_scratch import (
    as_dict,
    as_lines,
    checks_from_scratch,
    factors_of,
    load_outcomes,
)


def test_factors_by_hand() -> None:
    # 2 x too high, 4 x too low, exact, 1.5 x too low, 10 x too high.
    found = factors_of(((2, 1), (1, 4), (3, 3), (2, 3), (10, 1)))
    assert (found.count, found.median, found.within_2) == (5, 2, 3)
    assert found.most == 4  # four of five
    assert found.worst == 10


def test_every_figure_is_a_prediction_with_an_outcome() -> None:
    checks = [check for _, check in checks_from_scratch()]
    assert {c.kind for c in checks} == {"predicted"}
    assert {c.name for c in checks} == set(load_outcomes())
    assert all(c.source and not c.fitted for c in checks)


def test_misses_of_more_than_two_are_explained() -> None:
    for check in [check for _, check in checks_from_scratch()]:
        once = load_outcomes()[check.name]
        assert check.published
        far = max(once.simulated / check.published, check.published / once.simulated)
        assert bool(once.why) == (far > 2), check.name


def test_recorded_factors_are_those_that_the_readme_states() -> None:
    found = as_dict()
    recorded, efficiency = found["recorded"], found["recorded_tops_per_w"]
    assert (recorded["count"], recorded["within_2"]) == (43, 21)
    assert recorded["median"] == pytest.approx(2.11, abs=0.01)
    assert recorded["most"] == pytest.approx(3.82, abs=0.05)
    assert recorded["worst"] == pytest.approx(10.5, abs=0.05)
    assert (efficiency["count"], efficiency["within_2"]) == (27, 10)
    assert efficiency["median"] == pytest.approx(2.88, abs=0.01)
    assert efficiency["most"] == pytest.approx(3.9, abs=0.05)
    sets, kinds = found["recorded_by_set"], found["recorded_by_kind"]
    assert {name: round(one["median"], 2) for name, one in sets.items()} == {
        "first": 1.55,
        "second": 2.87,
    }
    assert sum(one["count"] for one in sets.values()) == 43
    assert sum(one["count"] for one in kinds.values()) == 43
    assert (kinds["throughput"]["count"], kinds["throughput"]["within_2"]) == (8, 8)
    assert (kinds["area and density"]["count"], kinds["area and density"]["within_2"]) == (7, 3)
    assert json.dumps(found)


def test_lines_fit_and_say_both_runs() -> None:
    lines = as_lines()
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    for said in ("that run: 43 figures", "the second set: 29 figures", "today: 43 figures"):
        assert said in text


def test_chips_from_scratch_use_no_fitted_number() -> None:
    for path in (bundled_folder() / "published").glob("fresh_*.yaml"):
        config = load_chip(path)
        assert not config.cost.overrides
        assert not config.cost.tables
        assert config.tile.adc.kind != "table"
        assert config.cost.scope in ("macro", "system")
        shares = (config.cost.control_share, config.cost.control_area_share)
        assert shares == (None, None)
        assert config.cost.system_factor is None
