"""Sweeps carried out: what is evaluated, what is kept, what goes on, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_model import SMALL

from cimsim.cli.sweep import print_results
from cimsim.config.load import find_chip, load_chip
from cimsim.errors import CimsimError
from cimsim.pipeline import run_chip
from cimsim.stages.full_size import GEOMETRY, full_size_geometry, full_size_row
from cimsim.stages.models import read_text
from cimsim.sweeps.ladder import survivors
from cimsim.sweeps.output import write_tables
from cimsim.sweeps.run import far_apart, prepare_sweep
from cimsim.sweeps.wants import Constraint, SweepObjective, Wants
from tests.sweep.plans import TWO_BY_TWO, Quiet, plan_from, sweep_here


def scored(model: Path, more: str) -> str:
    """Return the text of a plan that scores the tiny checkpoint."""
    knobs = [k.partition("=") for k in SMALL if not k.startswith(("workload.tokens", "run.chip"))]
    sets = ", ".join(f"{name}: {value}" for name, _, value in knobs)
    return (
        f"sweep: 1\nchips: [isaac]\nmodels: ['{model}']\n"
        f"set: {{{sets}, calibration.method: identity}}\n{more}"
    )


def test_the_row_of_a_chip_alone_is_what_its_layout_says(tmp_path: Path) -> None:
    config = load_chip(find_chip("isaac"), ("run.decode_batch=[2]",))
    row, geometry = full_size_row(config, 0.6), full_size_geometry(config)
    assert {name: row[name] for name in GEOMETRY} == geometry
    assert row["batch"] == 2
    coarse = full_size_row(load_chip(find_chip("isaac"), ("tile.adc.bits=4",)), 0.6)
    assert float(coarse["energy_per_token_nj"]) < float(row["energy_per_token_nj"])  # type: ignore[arg-type]


def test_a_ring_has_no_full_size_chip() -> None:
    with pytest.raises(CimsimError, match="does not grow to a full-size model"):
        full_size_row(load_chip(find_chip("isaac"), ("noc.kind=ring",)), 0.6)


def test_a_finished_sweep_is_read_and_a_damaged_point_computed_again(tmp_path: Path) -> None:
    plan, out = plan_from(tmp_path, TWO_BY_TWO), tmp_path / "out"
    first, again, third = Quiet(), Quiet(), Quiet()
    results = sweep_here(plan, out, first)
    write_tables(prepare_sweep(plan, out).folder, results)
    table = (out / "sweep.csv").read_bytes()
    assert len(first.done) == 4
    sweep_here(plan, out, again)
    assert again.done == []
    lost, damaged = first.done[0], first.done[1]
    (out / "points" / lost / "rung0.json").unlink()
    path = out / "points" / damaged / "rung0.json"
    path.write_bytes(path.read_bytes().replace(b"area_mm2", b"area_mm3"))
    write_tables(prepare_sweep(plan, out).folder, sweep_here(plan, out, third))
    assert sorted(third.done) == sorted([lost, damaged])
    assert len(third.notes) == 1
    assert "was damaged" in third.notes[0]
    assert (out / "sweep.csv").read_bytes() == table


def test_a_point_on_disk_is_a_chip_file_that_makes_the_same_row(tmp_path: Path) -> None:
    out = tmp_path / "out"
    results = sweep_here(plan_from(tmp_path, TWO_BY_TWO), out)
    one = results.standings[-1]
    config = load_chip(out / "points" / one.point.name / "chip.yaml")
    assert config == one.point.config
    row = full_size_row(config, 0.6)
    assert {k: row[k] for k in one.row} == one.row


def test_the_folder_of_another_plan_is_refused_with_what_differs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    sweep_here(plan_from(tmp_path, TWO_BY_TWO), out)
    other = plan_from(tmp_path, TWO_BY_TWO.replace("[5, 8]", "[5, 7]"))
    with pytest.raises(CimsimError) as caught:
        prepare_sweep(other, out)
    assert "axes.tile.adc.bits was [5, 8] and is [5, 7]" in caught.value.sentence()
    told = plan_from(tmp_path, TWO_BY_TWO + "description: other words\nobjectives: [area_mm2]\n")
    prepare_sweep(told, out)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CimsimError, match="holds no sweep"):
        prepare_sweep(plan_from(tmp_path, TWO_BY_TWO), tmp_path)


def test_what_the_layout_decides_is_tested_before_anything_is_timed(tmp_path: Path) -> None:
    areas = [
        full_size_geometry(load_chip(find_chip("isaac"), (f"tile.crossbar.rows={r}",)))["area_mm2"]
        for r in (64, 128)
    ]
    bound = float(np.mean([float(a) for a in areas]))  # type: ignore[arg-type]
    text = TWO_BY_TWO.replace("[5, 8]", "[8]") + f"constraints: [area_mm2 <= {bound}]\n"
    listener = Quiet()
    results = sweep_here(plan_from(tmp_path, text), tmp_path / "out", listener)
    assert listener.stages == [("layout", 2), ("points", 1)]
    by_rows = {dict(s.point.setting)["tile.crossbar.rows"]: s for s in results.standings}
    assert (by_rows[64].status, by_rows[128].status) == ("misses", "front")
    assert by_rows[64].why.startswith("area_mm2 <= ")
    assert "tokens_per_s" not in by_rows[64].row


def test_a_layout_that_no_point_meets_ends_before_anything_is_written(tmp_path: Path) -> None:
    plan = plan_from(tmp_path, TWO_BY_TWO + "constraints: [area_mm2 <= 0.5]\n")
    with pytest.raises(CimsimError, match=r"no point meets area_mm2 <= 0.5: the nearest has"):
        sweep_here(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_speed_that_no_point_meets_is_said_with_the_nearest(tmp_path: Path) -> None:
    plan = plan_from(tmp_path, TWO_BY_TWO + "constraints: [tokens_per_s >= 1e12]\n")
    results = sweep_here(plan, tmp_path / "out")
    fastest = max(float(s.row["tokens_per_s"]) for s in results.standings)  # type: ignore[arg-type]
    assert results.nobody() == (
        f"no point meets tokens_per_s >= 1e+12 (the nearest is {fastest:.6g})"
    )
    with pytest.raises(CimsimError, match="no point meets"):
        print_results(results, "out", ("sweep.csv",))


def test_a_scored_point_has_the_figures_of_a_run(tmp_path: Path, tiny_model: Path) -> None:
    text = scored(tiny_model, "axes: {tile.adc.bits: [6]}\nobjectives: [ppl_noisy_mean]\n")
    text += "fidelity: [{tokens: 64, chip_seeds: 2}]\n"
    (one,) = sweep_here(plan_from(tmp_path, text), tmp_path / "out").standings
    run = run_chip(one.point.config, str(tiny_model), read_text(None))
    assert one.point.config.workload.tokens == 64
    assert one.row["ppl_noisy_mean"] == run.row["ppl_noisy_mean"]
    assert one.row["tiny.tokens_per_s"] == run.row["tokens_per_s"]
    decoded = [r for r in run.scale if r["phase"] == "decode"][-1]
    assert one.row["tokens_per_s"] == decoded["tokens_per_s"]


def test_points_climb_the_ladder_and_the_table_says_who_fell_where(
    tmp_path: Path, tiny_model: Path
) -> None:
    text = scored(
        tiny_model,
        "axes: {tile.adc.bits: [4, 6, 7, 8]}\nobjectives: [energy_per_token_nj]\n"
        "fidelity: [{tokens: 32, keep: 0.5}, {tokens: 64, keep: 0.5}, {tokens: 128}]\n",
    )
    listener, out = Quiet(), tmp_path / "out"
    results = sweep_here(plan_from(tmp_path, text), out, listener)
    assert listener.stages == [("32 tokens", 4), ("64 tokens", 2), ("128 tokens", 1)]
    assert [s.rung for s in results.standings] == [2, 1, 0, 0]
    assert [s.status for s in results.standings] == ["front", "dropped", "dropped", "dropped"]
    assert results.standings[3].why == "at 32 tokens: on front 4 of 4, and 2 of 4 go on"
    assert (
        results.standings[0].row["tokens"] == 128 or results.standings[0].row["tiny.tokens"] == 128
    )
    names, rows = results.table()
    assert [r["rung"] for r in rows] == [2, 1, 0, 0]
    assert names.index("ppl_float") < names.index("area_mm2")
    first = json.loads(
        (out / "points" / results.standings[0].point.name / "rung0.json").read_text()
    )
    assert first["point"]["row"]["tiny.tokens"] == 32


def test_points_that_miss_a_constraint_fall_before_any_that_meets_it() -> None:
    wants = Wants((Constraint("y", upper=True, bound=5.0),), (SweepObjective("x", "lower"),))
    rows = {"a": {"x": 1.0, "y": 9.0}, "b": {"x": 7.0, "y": 4.0}, "c": {"x": 8.0, "y": 5.0}}
    kept, why = survivors(rows, wants, 0.5)
    assert kept == ["b", "c"]
    assert why == {"a": "y <= 5 is missed (9)"}


def test_within_a_front_points_with_room_around_them_go_on() -> None:
    wants = Wants((), (SweepObjective("x", "lower"), SweepObjective("y", "lower")))
    front = {"a": (0.0, 10.0), "b": (0.1, 9.9), "c": (5.0, 5.0), "d": (10.0, 0.0)}
    rows = {n: {"x": x, "y": y} for n, (x, y) in front.items()}
    assert survivors(rows, wants, 0.75)[0] == ["a", "c", "d"]


def test_points_worked_on_at_once_are_no_neighbours_of_the_plan() -> None:
    names: Any = list(range(27))
    order = far_apart(names)
    assert sorted(order) == names
    assert order[:8] == [0, 4, 8, 12, 16, 20, 24, 1]
    assert far_apart([]) == []
