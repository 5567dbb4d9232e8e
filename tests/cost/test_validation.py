"""Published figures: every check passes, fits are honest, and a failure is seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import pytest

from cimsim.cost.validation import CheckResult, load_checks, run_checks, summarise
from cimsim.cost.validation_report import as_dict, as_lines, parity_points


@cache
def results() -> tuple[CheckResult, ...]:
    return run_checks()


@pytest.mark.parametrize("item", sorted({c.item for c in load_checks()}))
def test_every_published_figure_of_an_item_passes(item: str) -> None:
    failed = [
        f"{r.check.name}: published {r.check.published}, simulated {r.simulated}, {r.error:+.1%}"
        for r in results()
        if r.check.item == item and r.status == "failed"
    ]
    assert not failed


def test_predicted_checks_meet_the_error_targets() -> None:
    summary = summarise(results())
    assert summary.predicted_median <= 0.10
    assert summary.predicted_max <= 0.25
    assert sum(r.check.kind == "predicted" for r in results()) >= 30


def test_no_item_fits_more_constants_than_it_has_fit_checks() -> None:
    fits = Counter(c.item for c in load_checks() if c.kind == "fit")
    for check in load_checks():
        assert len(check.fitted) <= fits[check.item], check.item
    for item, count in fits.items():
        fitted = next(c.fitted for c in load_checks() if c.item == item)
        assert fitted, f"{item} has {count} fit checks and names no constant"


def test_what_is_not_modelled_says_why_and_never_passes() -> None:
    found = [r for r in results() if r.check.kind == "not_modelled"]
    assert found
    assert all(r.status == "not_modelled" and len(r.check.note) > 20 for r in found)
    assert all(r.simulated is None for r in found)


def test_every_cost_item_of_the_list_is_covered() -> None:
    assert {c.item for c in load_checks()} == {
        "V-ISAAC-TABLE",
        "V-PUMA-TABLE",
        "V-PUMA-NOC-LAT",
        "V-ADC-MURMANN",
        "V-ADC-ZIGZAG",
        "V-SRAM-CACTI",
        "V-HERMES-PEAK",
        "V-MACRO-A-JIA",
        "V-MACRO-B-SINANGIL-08V",
        "V-MACRO-C-NEURRAM-SUBSET",
        "V-DIGITAL-COLONNADE-SUBSET",
        "V-ZIGZAG-SRAM-IMC",
        "V-TPUV4I",
    }


def test_a_wrong_published_value_fails() -> None:
    right = next(c for c in load_checks() if c.name == "chip_power")
    assert right.published is not None
    wrong = replace(right, published=right.published * 1.02)
    assert run_checks((wrong,))[0].status == "failed"


def test_zero_tolerance_means_equal_as_printed() -> None:
    right = next(c for c in load_checks() if c.name == "tile_pipeline_depth")
    assert right.tolerance == 0
    assert run_checks((right,))[0].status == "passed"
    assert run_checks((replace(right, published=22.0001),))[0].status == "failed"


def test_operating_points_change_the_prediction() -> None:
    """A prediction at another supply or phase is computed, not copied."""
    by_name = {r.check.name: r for r in results()}
    high, low = by_name["cim_pJ_1.2V"].simulated, by_name["cim_pJ_0.85V"].simulated
    assert high is not None
    assert low is not None
    assert low / high == pytest.approx((0.85 / 1.2) ** 2, rel=0.01)
    one, four = by_name["tops_1phase"].simulated, by_name["tops_4phase"].simulated
    assert one is not None
    assert four is not None
    assert one / four == pytest.approx(4.0, rel=1e-3)


def test_report_counts_match_the_rows() -> None:
    found = as_dict(results())
    status = Counter(row["status"] for row in found["rows"])
    assert found["passed"] == status["passed"]
    assert found["failed"] == status["failed"] == 0
    assert found["not_modelled"] == status["not_modelled"]
    lines = as_lines(results())
    assert f"{found['passed']} passed, 0 failed" in " ".join(lines)
    assert max(len(line) for line in lines) <= 80
    assert len(parity_points(results())) == status["passed"]
