"""The map of errors: its plan, the arithmetic of its tables, and a small one carried out."""

from __future__ import annotations

import csv
import math
import shutil
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from romer_bench import Bench
from typer.testing import CliRunner

from cimsim.cli.romer import app
from cimsim.errors import CimsimError
from cimsim.zoo import calibration_text, fresh_text, heldout_text, model_folder
from romer import Untreated, calibrate
from romer.choose import READINGS, choose
from romer.study.map_page import write_map
from romer.study.map_plan import MapPlan, read_map
from romer.study.map_run import MapStudy
from romer.study.map_tables import PlaceMeasurement, map_rows, smallest_sizes, two_sided_p


def test_the_plan_names_at_most_24_primary_cells_and_fresh_chips() -> None:
    plan = read_map(None)
    places = plan.places()
    assert 2 * sum(p.primary for p in places) == 2 * len(plan["primary"]["cells"]) <= 24
    assert plan["test_chips"] == list(range(100, 110))
    for place in places:
        told = place.primary or place.readings
        assert len(plan.chips(place)) == (10 if told else 3)
        assert {"two_steps", "trim+two_steps"} <= {name for name, *_ in plan.treatments(place)}
    sizes = {e: [p.size for p in places if p.error == e] for e in plan["kinds"]}
    for found in sizes.values():  # sizes of a kind rise, or fall, through the plan
        steps = np.diff(list(dict.fromkeys(found)))
        assert (steps > 0).all() or (steps < 0).all()
    small = read_map(None, reduced=True, chips=2, device="cuda")
    assert {p.model for p in small.places()} == {"olmoe-tiny"}
    assert all("run.device=cuda" in p.kind.overrides for p in small.places())


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"treatments": ["two_stepss"]}, "calibration.method"),
        ({"quantiser": "per_row"}, "quantisers"),
        ({"test_chips": [100]}, "test_chips"),
        ({"other_chips": 1}, "other_chips"),
        ({"kinds": {"cells": {"set": [], "unit": "", "sizes": {"huge": 1}}}}, "kinds"),
        ({"more": 1}, "--plan"),
    ],
)
def test_what_is_wrong_with_a_plan_is_one_sentence(
    tmp_path: Path, change: dict[str, Any], key: str
) -> None:
    data = yaml.safe_load(files("romer.study").joinpath("map.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "map.yaml"
    path.write_text(yaml.safe_dump(data | change))
    with pytest.raises(CimsimError) as caught:
        read_map(path)
    assert caught.value.key == key


def test_fresh_text_shares_no_paragraph_with_other_texts() -> None:
    fresh = {line for line in fresh_text().splitlines() if line}
    assert len(fresh_text().encode()) > 500_000
    for other in (calibration_text(), heldout_text()):
        assert not fresh & set(other.splitlines())


def _record(losses: list[float], **more: Any) -> dict[str, Any]:
    return {"nll_windows": losses, "load_tv": 0.2, "topk_agreement": 0.8, "load_cv": 0.5, **more}


def _measured(plan: MapPlan, noisy: float, two: float, trim: float, both: float) -> Any:
    place = replace(plan.places()[0], primary=True)
    shared = {"nll_clean_windows": [1.0, 1.2], "ppl_unigram": 100.0, "load_cv_clean": 0.4}

    def of(loss: float) -> tuple[dict[str, Any], ...]:
        return tuple(_record([loss + d, loss + 0.2 + d], kept=["match_r4"]) for d in (0.0, 0.01))

    treated = {
        "noisy": of(noisy), "two_steps": of(two), "trim": of(trim), "trim+two_steps": of(both),
    }  # fmt: skip
    return PlaceMeasurement(place, shared, treated)


def test_shares_are_of_the_gap_that_there_was_where_a_treatment_starts(tmp_path: Path) -> None:
    plan = read_map(None, reduced=True)
    rows = map_rows(plan, [_measured(plan, 2.0, 1.5, 1.25, 1.2)])
    before, trim, after = rows
    # Chips differ by 0.01, so that mean losses lie 0.005 above those given.
    assert before["gap_nats"] == pytest.approx(1.005)
    assert before["share_closed"] == pytest.approx(0.5 / 1.005)
    assert trim["share_closed"] == pytest.approx(0.75 / 1.005)
    assert after["starts_at"] == "trimmed"
    assert after["share_closed"] == pytest.approx(0.05 / 0.255)
    assert before["share_low"] <= before["share_closed"] <= before["share_high"]
    assert (before["primary"], trim["primary"], after["primary"]) == (True, False, True)
    assert before["steps"] == "match_r4 2/2"
    (line,) = smallest_sizes(rows)
    assert line["before trimming"] == "-"
    write_map(plan, map_rows(plan, [_measured(plan, 2.0, 1.4, 1.25, 1.2)]), tmp_path)
    page = " ".join((tmp_path / "report.md").read_text(encoding="utf-8").split())
    missing = len(plan.places()) - 1
    assert f"{missing} of its {missing + 1} cells are not measured yet" in page
    assert (
        "close half or more before trimming: cells (router) from bad sizes on, 1 of 1 models."
        in page
    )
    assert (tmp_path / "figures" / "phases_olmoe-tiny_router.svg").is_file()


def test_the_page_lists_where_the_steps_harm_and_what_is_destroyed(tmp_path: Path) -> None:
    plan = read_map(None, reduced=True)
    write_map(plan, map_rows(plan, [_measured(plan, 2.0, 2.1, math.log(120.0), 1.2)]), tmp_path)
    page = " ".join((tmp_path / "report.md").read_text(encoding="utf-8").split())
    assert "in 1 of 2 places, by 0.1000 to 0.1000 nats: listed below" in page
    assert "## Where the guarded steps raise the loss" in page
    assert "Destroyed before treatment: 0 of 1 cells." in page
    write_map(plan, map_rows(plan, [_measured(plan, math.log(120.0), 2.1, 1.9, 1.2)]), tmp_path)
    page = " ".join((tmp_path / "report.md").read_text(encoding="utf-8").split())
    assert "Destroyed before treatment: 1 of 1 cells, listed below." in page
    assert "in 0 of 2 places." in page


def test_a_plan_without_primary_cells_tells_the_interval_of_every_cell(tmp_path: Path) -> None:
    plan = read_map(Path("romer/study/ladder.yaml"), reduced=True)
    measured = _measured(plan, 2.0, 1.5, 1.25, 1.2)
    measured = replace(measured, place=replace(measured.place, primary=False))
    write_map(plan, map_rows(plan, [measured]), tmp_path)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Precision" not in page
    assert "## Primary cells" not in page
    told = page.split("## Every cell")[1].split("## All treatments")[0]
    assert "50% (50% to 50%)" in told
    assert "trim+two_steps" in told


def test_destroyed_cells_and_small_gaps_have_no_share() -> None:
    plan = read_map(None, reduced=True)
    lost = map_rows(plan, [_measured(plan, math.log(120.0), 2.0, 1.25, 1.2)])[0]
    assert lost["destroyed"]
    assert math.isnan(lost["share_closed"])
    small = map_rows(plan, [_measured(plan, 1.01, 1.005, 1.01, 1.0)])[0]
    assert not small["destroyed"]
    assert math.isnan(small["share_closed"])


def test_two_sided_p_is_that_of_a_paired_t() -> None:
    # Mean 2, standard error 1: t = 2 with 3 degrees of freedom.
    assert two_sided_p(np.array([2.0, 2.0, 4.0, 0.0]) * 1.0) == pytest.approx(0.0917, abs=2e-4)
    assert two_sided_p(np.array([1.0, 1.0])) == 0.0
    assert two_sided_p(np.zeros(3)) == 1.0


def test_the_best_of_a_group_is_chosen_and_kept_only_if_it_helps(bench: Bench) -> None:
    task = bench.task(0.3)
    untreated = Untreated(task)
    group = ("clamp_r1@0.1", "router_refit", "match_r4")
    found = choose(task, (group,), untreated=untreated)
    losses = {
        name: calibrate(task, name, guarded=False, untreated=untreated).verdicts[0].gain_nats
        for name in group
    }
    (verdict,) = found.verdicts
    assert verdict.step == max(losses, key=lambda name: losses[name])
    assert verdict.gain_nats == losses[verdict.step]
    # The best of three needs 2.43 standard errors: a tail of 0.0228 / 3.
    assert verdict.needed_nats == pytest.approx(max(1e-3, 2.427 * verdict.error_nats), rel=1e-3)
    worse = choose(task, (("clamp_r1@0.1",),), untreated=untreated)
    assert worse.correction.is_identity
    assert len({*READINGS[0], *READINGS[1]}) == 15


def test_a_small_map_stops_goes_on_and_is_written(tmp_path: Path) -> None:
    data = yaml.safe_load(files("romer.study").joinpath("map.yaml").read_text(encoding="utf-8"))
    data |= {
        "models": ["olmoe-tiny"], "test_tokens": 512, "calibration_tokens": 2560,
        "test_chips": [100, 101], "other_chips": 2,
        "treatments": ["two_steps", "trim", "trim+two_steps"],
        "other_treatments": ["two_steps", "trim", "trim+two_steps"],
        "parts": {"router": ["router"]}, "readings": None,
        "kinds": {"column_gain": data["kinds"]["column_gain"] | {"sizes": {"stress": 0.4}}},
    }  # fmt: skip
    plan, out = tmp_path / "map.yaml", tmp_path / "map"
    plan.write_text(yaml.safe_dump(data))

    def study(*more: str) -> str:
        found = CliRunner().invoke(
            app, ["study", "--plan", str(plan), "--out", str(out), *more], catch_exceptions=False
        )
        assert found.exit_code == 0, found.output
        return found.output

    plan.write_text("map: true\n" + plan.read_text().replace("map: true\n", ""))
    assert "run the same command again" in study("--seconds", "0")
    assert not (out / "map.csv").exists()
    assert "written:" in study()
    with (out / "map.csv").open(encoding="utf-8") as file:
        rows = {r["treatment"]: r for r in csv.DictReader(file)}
    # Column gains of an analog router: the steps close most of the gap, and so does a trim.
    assert float(rows["two_steps"]["share_closed"]) > 0.5
    assert float(rows["trim"]["share_closed"]) > 0.8
    assert float(rows["trim"]["nll_after"]) == float(rows["trim+two_steps"]["nll_before"])
    written = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert "written:" in study()
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == written


def test_the_ladder_has_three_sizes_second_seeds_and_five_chips_a_cell() -> None:
    plan = read_map(Path(str(files("romer.study").joinpath("ladder.yaml"))))
    assert {"olmoe-tiny", "olmoe-61m", "olmoe-317m", "olmoe-61m-seed1"} <= set(plan["models"])
    places = plan.places()
    assert len(places) == 6 * 5 * 2
    assert {len(plan.chips(place)) for place in places} == {5}
    assert not any(place.primary for place in places)


def test_models_that_are_nowhere_are_named_before_anything_is_measured(tmp_path: Path) -> None:
    plan = read_map(Path(str(files("romer.study").joinpath("ladder.yaml"))))
    (tmp_path / "olmoe-61m").mkdir()
    with pytest.raises(CimsimError) as caught:
        MapStudy(plan, tmp_path / "out", models_dir=tmp_path, say=lambda _: None)
    assert caught.value.key == "--models-dir"
    assert "olmoe-317m" in str(caught.value.value)
    assert "olmoe-61m," not in str(caught.value.value)
    with pytest.raises(CimsimError, match="is not a folder"):
        MapStudy(plan, tmp_path / "out", models_dir=tmp_path / "none", say=lambda _: None)


def _table(plan: MapPlan, model: str, path: Path) -> Path:
    """Write the table of a model's cells as if they had been measured."""
    measured = []
    for place in plan.places():
        if place.model == model:
            one = _measured(plan, 2.0, 1.5, 1.25, 1.2)
            names = [name for name, *_ in plan.treatments(place)]
            treated = {n: one.treated.get(n, one.treated["trim"]) for n in ("noisy", *names)}
            measured.append(PlaceMeasurement(place, one.shared, treated))
    path.parent.mkdir()
    write_map(plan, map_rows(plan, measured), path.parent)
    return path


def test_cells_that_are_known_from_elsewhere_are_shown_and_need_no_model(tmp_path: Path) -> None:
    plan = read_map(Path(str(files("romer.study").joinpath("ladder.yaml"))))
    tables = [_table(plan, name, tmp_path / name / "map.csv") for name in plan["models"]]
    study = MapStudy(plan, tmp_path / "out", known=tables, say=lambda _: None)
    assert study.run() == 0
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "not measured yet" not in page
    with (tmp_path / "out" / "map.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 60 * len(plan["treatments"])
    assert list(dict.fromkeys(r["model"] for r in rows)) == plan["models"]  # in the plan's order
    with tables[2].open(encoding="utf-8") as stream:
        assert [r for r in rows if r["model"] == plan["models"][2]] == list(csv.DictReader(stream))
    with pytest.raises(CimsimError) as caught:
        MapStudy(plan, tmp_path / "out", known=tables[:3], say=lambda _: None)
    assert str(caught.value.value) == ", ".join(plan["models"][3:])


def test_a_table_that_does_not_go_with_the_plan_is_one_sentence(tmp_path: Path) -> None:
    plan = read_map(Path(str(files("romer.study").joinpath("ladder.yaml"))))
    table = _table(plan, "olmoe-61m", tmp_path / "a" / "map.csv")
    whole = table.read_text(encoding="utf-8")
    lines = whole.splitlines(keepends=True)
    for text, says in (
        ("a,b\n1,2\n", "is no table of a map"),
        (whole.replace("olmoe-61m", "olmoe-62m"), "a cell is not one of the plan"),
        ("".join(lines[:-1]), "a cell has not the treatments of the plan"),
        (whole.replace(",false,", ",no,", 1), "is no row of a map"),
        (whole.replace(",5,bad", ",five,bad", 1), "is no row of a map"),
    ):
        table.write_text(text, encoding="utf-8")
        with pytest.raises(CimsimError, match=says) as caught:
            MapStudy(plan, tmp_path / "out", known=[table], say=lambda _: None)
        assert caught.value.key == "--known"
        assert caught.value.file == str(table)
    table.write_text(whole, encoding="utf-8")
    with pytest.raises(CimsimError, match="told twice"):
        MapStudy(plan, tmp_path / "out", known=[table, table], say=lambda _: None)
    first = read_map(None)
    other = _table(first, "olmoe-tiny", tmp_path / "b" / "map.csv")
    with pytest.raises(CimsimError, match="primary: measure those in one folder"):
        MapStudy(first, tmp_path / "out", known=[other], say=lambda _: None)


def test_a_model_of_the_users_is_measured_where_it_lies(tmp_path: Path) -> None:
    shutil.copytree(model_folder("olmoe-tiny"), tmp_path / "models" / "mine")
    data = yaml.safe_load(files("romer.study").joinpath("ladder.yaml").read_text(encoding="utf-8"))
    data["reduced"] |= {"models": ["mine"], "treatments": ["trim"], "other_treatments": ["trim"]}
    data["reduced"] |= {"test_tokens": 512}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(data))
    plan = read_map(tmp_path / "plan.yaml", reduced=True)
    told: list[str] = []
    study = MapStudy(plan, tmp_path / "out", models_dir=tmp_path / "models", say=told.append)
    assert study.run() == 0
    with (tmp_path / "out" / "map.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {(r["model"], r["parts"]) for r in rows} == {("mine", "router"), ("mine", "all_analog")}
    assert all(r["chips"] == "2" for r in rows)
