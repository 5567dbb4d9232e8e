"""The study: statistics by hand, the plan's cells, and that TEST text stays out of fits."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from romer_bench import Bench
from romer_columns import COLUMNS
from romer_imports import imported_by

from cimsim.errors import CimsimError
from cimsim.model import identity
from cimsim.zoo import heldout_text
from romer import calibrate
from romer.study import heldout
from romer.study.cache import Cache, name_of
from romer.study.cells import Cell, Kind, cells_of, check_plan
from romer.study.charge import offloaded_macs
from romer.study.choices import choose_level, choose_quantiser
from romer.study.details import bootstrap_reduction
from romer.study.measured import CellMeasurement
from romer.study.plan import read_plan
from romer.study.summary import holm, one_sided_p, summarise, write_table
from romer.study.verdicts import harmful, mode_differences, verdicts


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


def measured_of(
    noisy: list[float], after: list[float], role: str = "primary", **fields: Any
) -> CellMeasurement:
    cell = Cell(
        role, "m", "all_analog", ("attention", "experts"), 5.0, False, "romer_plus", True, 4096,
        tuple(range(len(noisy))),
    )  # fmt: skip
    shared = {
        "nll_clean_windows": [1.9, 2.1], "ppl_ideal_int": 7.4, "ppl_adc_only": 7.5,
        "load_cv_clean": 0.3, "rel_weight_error": 0.1, "device_profile": "25c",
        "temperature_c": 25.0,
    }  # fmt: skip
    record = {
        "load_cv": 0.4, "load_tv": 0.1, "digital_ops_per_token": 10.0, "cells_rewritten": 0,
        "topk_agreement": 0.9, "routing_kl": None,
    }  # fmt: skip
    return CellMeasurement(
        replace(cell, **fields),
        shared,
        tuple({**record, "nll_windows": [v - 0.1, v + 0.1]} for v in noisy),
        tuple({**record, "nll_windows": [v - 0.1, v + 0.1]} for v in after),
    )


def test_summary_has_closures_and_intervals_of_the_mean_loss(tmp_path: Path) -> None:
    rows = summarise([measured_of([3.0, 3.2], [2.5, 2.6])]).rows
    (row,) = rows
    assert tuple(row) == COLUMNS
    assert row["gap_closure_nll"] == pytest.approx((3.1 - 2.55) / 1.1)
    ppl = {k: math.exp(v) for k, v in (("clean", 2.0), ("noisy", 3.1), ("after", 2.55))}
    closed = (ppl["noisy"] - ppl["after"]) / (ppl["noisy"] - ppl["clean"])
    assert row["gap_closure_ppl"] == pytest.approx(closed)
    assert row["reduction"] == pytest.approx(1 - ppl["after"] / ppl["noisy"])
    assert row["ci_low"] < row["ppl_calibrated"] < row["ci_high"]
    write_table(rows, tmp_path / "summary.csv")
    with (tmp_path / "summary.csv").open() as file:
        (read,) = csv.DictReader(file)
    assert read["level_l"] == "false"
    assert float(read["ppl_noisy"]) == pytest.approx(ppl["noisy"], rel=1e-5)


def test_the_change_of_the_loss_has_the_interval_of_pairs() -> None:
    # Chips differ by far more than what the treatment does to each of them.
    m = measured_of([3.0, 4.0, 5.0], [2.9, 3.8, 4.7])
    (row,) = summarise([m]).details
    # Changes of -0.1, -0.2, -0.3: mean -0.2, error 0.1 / sqrt(3), t quantile 4.302653.
    assert row["loss_change_mean"] == pytest.approx(-0.2)
    assert row["loss_change_ci_low"] == pytest.approx(-0.2 - 4.302653 * 0.1 / math.sqrt(3))
    assert row["loss_change_ci_high"] == pytest.approx(-0.2 + 4.302653 * 0.1 / math.sqrt(3))


def test_only_primary_p_values_are_corrected() -> None:
    one = measured_of([3.0, 3.2, 3.1], [2.9, 3.0, 3.05])
    p = one_sided_p([0.1, 0.2, 0.05])
    other = measured_of([3.0, 3.2, 3.1], [2.9, 3.0, 3.05], "ablation")
    rows = summarise([one, one, other]).rows
    assert [r["p_value"] for r in rows] == pytest.approx([2 * p, 2 * p, p])


def test_closure_with_digital_attention_is_also_shown_of_the_all_analog_gap() -> None:
    whole = measured_of([3.0, 3.0], [2.5, 2.5])
    part = measured_of([2.6, 2.6], [2.2, 2.2], analog=("experts",), scope="digital_attention")
    first, second = summarise([whole, part]).details
    assert second["gap_closure_nll_of_all_analog"] == pytest.approx(0.8)
    assert first["gap_closure_nll_of_all_analog"] == pytest.approx(0.5)


def test_windows_that_do_not_count_are_left_out_of_every_loss() -> None:
    m = replace(measured_of([3.0, 3.2], [2.5, 2.6]), windows=(True, False))
    assert m.nll_clean == pytest.approx(1.9)
    assert m.nll(treated=False) == pytest.approx([2.9, 3.1])


def test_the_text_interval_is_of_blocks_of_windows() -> None:
    noisy = np.full((2, 16), 3.0)
    treated = np.repeat([[2.0, 2.2, 2.4, 2.6]], 4, axis=1).repeat(2, axis=0)
    low, high = bootstrap_reduction(noisy, treated)
    # Four documents with gains of 1, 0.8, 0.6 and 0.4 nats: every mean lies between.
    assert 1 - math.exp(-0.4) <= low < 1 - math.exp(-0.7) < high <= 1 - math.exp(-1.0)
    assert math.isnan(bootstrap_reduction(noisy[:, :4], treated[:, :4])[0])


def test_harm_is_named_and_baselines_and_transfer_are_not_charged_with_it() -> None:
    worse = ([2.0, 2.1, 2.2], [2.1, 2.2, 2.3])
    found = [
        measured_of(*worse, "ablation", calibrator="clamp_r1"),
        measured_of(*worse, "transfer"),
        measured_of(*worse, "ablation", calibrator="twice"),
        measured_of(*worse, "ablation", calibrator="clamp_r1", guarded=False),
    ]
    (line,) = harmful(found)
    assert line.startswith("clamp_r1 on m, all_analog")
    assert "+0.1000 nats" in line


def test_hypotheses_say_in_which_cells_they_were_missed() -> None:
    good = measured_of([3.0, 3.1, 3.2], [2.2, 2.3, 2.4])
    bad = measured_of([3.0, 3.1, 3.2], [2.9, 3.0, 3.1], model="n")
    lines = verdicts(summarise([good, bad]))
    h3 = next(x for x in lines if x.startswith("H3, 55 %"))
    assert "missed in 1 of 2 cells (n all_analog sigma 5" in h3
    assert any(x.startswith("H2") and x.endswith("not tested.") for x in lines)


def test_detailed_cells_are_compared_with_the_same_chips_folded() -> None:
    folded = measured_of([3.0, 3.2, 9.0], [2.5, 2.6, 9.0])
    detailed = measured_of([3.01, 3.21], [2.5, 2.6], "sensitivity", tile_mode="detailed")
    ((_, noisy, after),) = mode_differences([folded, detailed])
    assert noisy == pytest.approx(0.01)
    assert after == pytest.approx(0.0, abs=1e-12)


def test_products_that_leave_the_cells_count_as_digital_work(bench: Bench) -> None:
    program = bench.checkpoint.program
    d, layers = program.d_model, len(program.layers)
    bare = identity("m", "c")
    assert offloaded_macs(bare, program) == 0.0
    attention = replace(bare, offload_parts=("attention",))
    assert offloaded_macs(attention, program) == 4 * d * d * layers
    # One expert of three d x 28 matrices, chosen by 8 of 64.
    expert = replace(bare, offload_experts=((1, 5),))
    assert offloaded_macs(expert, program) == 3 * d * 28 * 8 / 64


def test_the_plan_has_every_primary_cell_once() -> None:
    plan = read_plan(None)
    check_plan(plan)
    levels = {"olmoe-tiny": 13.0, "qwen-moe-tiny": 11.0, "deepseek-moe-tiny": 10.0}
    best = {(m, s): "per_column" for m in levels for s in plan["primary"]["sigmas"]}
    cells = cells_of(plan, {**levels, **dict.fromkeys(plan["extra_models"], math.nan)}, best)
    assert len(cells) == len(set(cells))
    plus = [c for c in cells if c.role == "primary" and c.calibrator == "romer_plus"]
    assert len(plus) == 3 * 3 * 2
    assert {(c.model, c.sigma) for c in plus if c.level_l} == set(levels.items())
    assert all(len(c.chips) == 10 for c in plus)
    assert sum(len(c.chips) for c in cells) < 1500
    assert not {c for c in cells if set(c.chips) & set(plan["development_chips"])}
    assert sum(c.tile_mode == "detailed" for c in cells) == 18
    assert not {c for c in cells if c.sigma is not None and math.isnan(c.sigma)}


def test_level_l_and_the_quantiser_are_the_first_and_the_best_of_the_plan() -> None:
    plan = read_plan(None)
    gain = math.log(8.0) / 9.0  # so that sigma 9 is the first with eight times the perplexity

    def losses(kind: Kind) -> tuple[float, float]:
        better = 0.1 if kind.quantiser == "per_matrix_clip_3" else 0.0
        return 2.0, 2.0 + gain * (kind.sigma or 0.0) - better

    assert choose_level(plan, "olmoe-tiny", losses) == (9.0, True)
    assert choose_quantiser(plan, "olmoe-tiny", 5.0, losses) == "per_matrix_clip_3"
    assert choose_level(plan, "olmoe-tiny", lambda _: (2.0, 2.1)) == (15.0, False)


def test_a_plan_with_an_unknown_calibrator_is_refused(tmp_path: Path) -> None:
    text = (Path(heldout.__file__).parent / "plan.yaml").read_text()
    path = tmp_path / "plan.yaml"
    path.write_text(text.replace("[romer_plus, romer]", "[romer_plus, romre]"))
    with pytest.raises(CimsimError, match="did you mean 'romer'"):
        check_plan(read_plan(path))
    path.write_text(text.replace("[per_column, per_matrix_clip_4", "[per_colum, per_matrix_clip_4"))
    with pytest.raises(CimsimError, match="is not a quantiser"):
        check_plan(read_plan(path))
    with pytest.raises(CimsimError, match="not found"):
        read_plan(tmp_path / "absent.yaml")


def test_the_cache_answers_only_the_question_that_was_asked(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    names = [name_of({"models": m, "chip": c}) for m, c in (("a", 1), ("a", 2), ("b", 1))]
    cache.put(names[0], {"nll": 2.5})
    assert cache.get(names[0]) == {"nll": 2.5}
    assert [cache.get(n) for n in names[1:]] == [None, None]


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
