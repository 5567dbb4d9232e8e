"""The study: statistics by hand, the plan's cells, and that TEST text stays out of fits."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from romer_bench import Bench
from romer_imports import imported_by

from cimsim.errors import CimsimError
from cimsim.zoo import heldout_text
from romer import calibrate
from romer.study import heldout
from romer.study.cache import Cache
from romer.study.plan import Cell, cells_of, read_plan
from romer.study.summary import COLUMNS, Measured, holm, one_sided_p, summarise, write_summary


def test_one_sided_p_is_the_tail_of_a_paired_t() -> None:
    # Gains 1, 2, 3: mean 2, error 1 / sqrt(3), t = 3.4641 with 2 degrees: p = 0.037090.
    assert one_sided_p([1.0, 2.0, 3.0]) == pytest.approx(0.0370902, abs=1e-6)
    assert one_sided_p([-1.0, -2.0, -3.0]) == pytest.approx(1 - 0.0370902, abs=1e-6)
    assert one_sided_p([0.0, 0.0]) == 1.0
    assert math.isnan(one_sided_p([1.0]))


def test_holm_multiplies_sorted_p_values_by_the_tests_that_are_left() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.02, math.nan])[0] == pytest.approx(0.02)


def measured_of(noisy: list[float], after: list[float], role: str = "primary") -> Measured:
    cell = Cell(
        role, "m", "all", ("experts",), 5.0, False, "romer_plus", True, 4096,
        tuple(range(len(noisy))),
    )  # fmt: skip
    shared = {
        "nll_clean": 2.0, "ppl_ideal_int": 7.4, "load_cv_clean": 0.3, "rel_weight_error": 0.1,
    }  # fmt: skip
    record = {"load_cv": 0.4, "load_tv": 0.1, "digital_ops_per_token": 10.0, "cells_rewritten": 0}
    return Measured(
        cell,
        shared,
        tuple({**record, "nll": v} for v in noisy),
        tuple({**record, "nll": v} for v in after),
    )


def test_summary_has_closures_and_intervals_of_the_mean_loss(tmp_path: Path) -> None:
    rows = summarise([measured_of([3.0, 3.2], [2.5, 2.6])])
    (row,) = rows
    assert tuple(row) == COLUMNS
    assert row["gap_closure_nll"] == pytest.approx((3.1 - 2.55) / 1.1)
    ppl = {k: math.exp(v) for k, v in (("clean", 2.0), ("noisy", 3.1), ("after", 2.55))}
    closed = (ppl["noisy"] - ppl["after"]) / (ppl["noisy"] - ppl["clean"])
    assert row["gap_closure_ppl"] == pytest.approx(closed)
    assert row["reduction"] == pytest.approx(1 - ppl["after"] / ppl["noisy"])
    assert row["ci_low"] < row["ppl_calibrated"] < row["ci_high"]
    write_summary(rows, tmp_path / "summary.csv")
    with (tmp_path / "summary.csv").open() as file:
        (read,) = csv.DictReader(file)
    assert read["level_l"] == "false"
    assert float(read["ppl_noisy"]) == pytest.approx(ppl["noisy"], rel=1e-5)


def test_only_primary_p_values_are_corrected() -> None:
    one = measured_of([3.0, 3.2, 3.1], [2.9, 3.0, 3.05])
    p = one_sided_p([0.1, 0.2, 0.05])
    rows = summarise([one, one, measured_of([3.0, 3.2, 3.1], [2.9, 3.0, 3.05], "ablation")])
    assert [r["p_value"] for r in rows] == pytest.approx([2 * p, 2 * p, p])


def test_the_plan_has_every_primary_cell_once() -> None:
    plan = read_plan(None)
    levels = {"olmoe-tiny": 13.0, "qwen-moe-tiny": 11.0, "deepseek-moe-tiny": 10.0}
    cells = cells_of(plan, levels)
    assert len(cells) == len(set(cells))
    plus = [c for c in cells if c.role == "primary" and c.calibrator == "romer_plus"]
    assert len(plus) == 3 * 3 * 2
    assert {(c.model, c.sigma) for c in plus if c.level_l} == set(levels.items())
    assert all(len(c.chips) == 10 for c in plus)
    assert sum(len(c.chips) for c in cells) < 1500
    assert not {c for c in cells if set(c.chips) & set(plan["development_chips"])}


def test_a_plan_with_an_unknown_calibrator_is_refused(tmp_path: Path) -> None:
    text = (Path(heldout.__file__).parent / "plan.yaml").read_text()
    path = tmp_path / "plan.yaml"
    path.write_text(text.replace("[romer_plus, romer]", "[romer_plus, romre]"))
    with pytest.raises(CimsimError, match="did you mean 'romer'"):
        read_plan(path)
    with pytest.raises(CimsimError, match="not found"):
        read_plan(tmp_path / "absent.yaml")


def test_the_cache_answers_only_the_question_that_was_asked(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", {"models": "a"})
    cache.put({"chip": 1}, {"nll": 2.5})
    assert cache.get({"chip": 1}) == {"nll": 2.5}
    assert cache.get({"chip": 2}) is None
    assert Cache(tmp_path / "cache", {"models": "b"}).get({"chip": 1}) is None


def test_test_text_begins_after_the_development_split(bench: Bench) -> None:
    windows = heldout.test_windows(bench.checkpoint, 512, 256)
    ids = bench.checkpoint.tokenizer.encode(heldout_text(), add_special_tokens=False).ids
    assert windows.ravel().tolist() == ids[40_960 : 40_960 + 512]
    with pytest.raises(CimsimError, match="TEST text has"):
        heldout.test_windows(bench.checkpoint, 10**9, 256)


def test_poisoning_test_text_leaves_a_correction_unchanged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = calibrate(bench.task(0.3), "columns").correction.digest()

    def poisoned() -> str:
        message = "a calibrator read held-out text"
        raise AssertionError(message)

    monkeypatch.setattr("cimsim.zoo.heldout_text", poisoned)
    monkeypatch.setattr(heldout, "heldout_text", poisoned)
    monkeypatch.setattr("cimsim.stages.models.heldout_text", poisoned)
    assert calibrate(bench.task(0.3), "columns").correction.digest() == before
    assert not {m for m in imported_by("romer") if "heldout" in m or "romer.study" in m}
