"""Search: hypervolumes by hand, the same sequence every time, and better than chance."""

from __future__ import annotations

from itertools import product
from math import exp
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.config.sweep import SearchKnobs, SweepPlan
from cimsim.errors import CimsimError
from cimsim.sweeps.axes import Dimension
from cimsim.sweeps.executor import InThisProcess
from cimsim.sweeps.hypervolume import hypervolume
from cimsim.sweeps.search import SearchRun, prepare_search
from cimsim.sweeps.standing import SweepResults
from cimsim.sweeps.study import SearchSpace, SearchStudy
from cimsim.sweeps.wants import SweepObjective
from tests.sweep.plans import Quiet, plan_from

SPACE = """
sweep: 1
chips: [isaac]
accuracy: off
axes:
  tile.adc.bits: [4, 5, 6, 7, 8]
  tile.crossbar.rows: [32, 64, 128, 256]
"""
SIDES = (5, 5, 4, 5)  # 500 points
AXES = tuple(Dimension((f"x{i}",), tuple((v,) for v in range(n))) for i, n in enumerate(SIDES))
OBJECTIVES = (SweepObjective("error", "lower"), SweepObjective("cost", "lower"))


def test_the_volume_of_two_points_is_that_of_two_rectangles() -> None:
    costs = np.array([[1.0, 3.0], [2.0, 1.0], [3.0, 3.5], [9.0, 0.0]])
    assert hypervolume(costs, np.array([4.0, 4.0])) == pytest.approx(3 * 1 + 2 * 2)
    assert hypervolume(costs[3:], np.array([4.0, 4.0])) == 0.0


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=8))
def test_the_volume_in_three_dimensions_is_that_of_optuna(points: list[tuple[float, ...]]) -> None:
    from optuna._hypervolume import compute_hypervolume

    costs, reference = np.array(points), np.ones(3)
    assert hypervolume(costs, reference) == pytest.approx(
        compute_hypervolume(costs, reference), abs=1e-12
    )


def figures(setting: dict[str, object]) -> tuple[float, float]:
    """Return a loss and a cost that have the shape of those of converters and arrays."""
    bits, rows, share, noise = (float(setting[f"x{i}"]) for i in range(4))  # type: ignore[arg-type]
    error = exp(-0.9 * bits) * (1 + 0.4 * rows) + 0.05 * noise * (1 + 0.2 * rows)
    cost = (1.8**bits + 2) / (1 + rows) + 0.4 * share * (1 + 0.1 * noise) + 1.5 / (1 + noise)
    return error, cost


def front_after(sampler: str, seed: int, trials: int) -> float:
    """Return the hypervolume that a search of distinct points has."""
    study = SearchStudy(
        SearchSpace(("isaac",), AXES), OBJECTIVES,
        SearchKnobs(sampler=sampler, seed=seed, trials=trials),  # type: ignore[arg-type]
        storage=None, name="test", plan="",
    )  # fmt: skip
    seen: dict[str, tuple[float, float]] = {}
    while len(seen) < trials:
        asked = study.ask()
        name = str(asked.setting)
        seen[name] = figures(dict(asked.setting))
        study.tell(asked, name, seen[name], {})
    return hypervolume(np.array(list(seen.values())), REFERENCE)


ALL = np.array([
    figures({f"x{i}": v for i, v in enumerate(p)}) for p in product(*map(range, SIDES))
])  # fmt: skip
REFERENCE = ALL.max(axis=0)
BEST = hypervolume(ALL, REFERENCE)


def test_with_the_same_seed_the_sequence_is_the_same_and_with_another_it_is_not() -> None:
    def sequence(seed: int) -> list[object]:
        study = SearchStudy(
            SearchSpace(("isaac",), AXES), OBJECTIVES, SearchKnobs(seed=seed),
            storage=None, name="test", plan="",
        )  # fmt: skip
        found = []
        for _ in range(40):
            asked = study.ask()
            found.append(asked.setting)
            study.tell(asked, "", figures(dict(asked.setting)), {})
        return found

    assert sequence(1) == sequence(1) != sequence(2)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_search_falls_short_by_at_most_half_of_what_chance_does(sampler: str) -> None:
    def shortfall(of: str) -> float:
        return float(np.median([BEST - front_after(of, seed, 120) for seed in range(5)]))

    assert 0 <= shortfall(sampler) <= 0.5 * shortfall("random")


def search_here(plan: SweepPlan, out: Path, trials: int, **how: object) -> SweepResults:
    checked = prepare_search(plan, out, how.get("storage"))  # type: ignore[arg-type]
    with InThisProcess() as executor:
        return SearchRun(checked, executor, Quiet()).run(trials)


def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    plan = plan_from(tmp_path, SPACE)
    whole = search_here(plan, tmp_path / "whole", 8)
    search_here(plan, tmp_path / "stopped", 5)
    rest = search_here(plan, tmp_path / "stopped", 8)
    assert rest.table() == whole.table()
    assert len({s.point.name for s in rest.standings}) == 8


def test_the_study_opens_in_optuna_with_points_constraints_and_values(tmp_path: Path) -> None:
    import optuna

    plan = plan_from(tmp_path, SPACE + "constraints: [energy_per_token_nj <= 4e5]\n")
    results = search_here(plan, tmp_path / "out", 6)
    study = optuna.load_study(study_name="plan", storage=f"sqlite:///{tmp_path}/out/study.db")
    standings = {s.point.name: s for s in results.standings}
    assert {t.user_attrs["point"] for t in study.trials} == set(standings)
    for trial in study.trials:
        row = standings[trial.user_attrs["point"]].row
        assert trial.values == [row[o.column] for o in results.wants.objectives]
        excess = trial.constraints["energy_per_token_nj <= 400000"]
        assert excess == float(row["energy_per_token_nj"]) - 4e5  # type: ignore[arg-type]


def test_what_the_layout_rules_out_is_told_without_being_evaluated(tmp_path: Path) -> None:
    plan = plan_from(tmp_path, SPACE + "constraints: [area_mm2 <= 3.5]\n")
    results = search_here(plan, tmp_path / "out", 6)
    ruled_out = [s for s in results.standings if s.rung == -1]
    assert ruled_out
    assert all(s.status == "misses" and "tokens_per_s" not in s.row for s in ruled_out)
    assert not any((tmp_path / "out" / "points" / s.point.name).exists() for s in ruled_out)


def test_a_small_space_is_searched_whole_and_the_hypervolume_said(tmp_path: Path) -> None:
    text = SPACE.replace("[32, 64, 128, 256]", "[64, 128]").replace("[4, 5, 6, 7, 8]", "[8]")
    text += (
        "objectives: [tokens_per_s, area_mm2]\n"
        "search: {reference: {tokens_per_s: 0, area_mm2: 1000}}\n"
    )
    results = search_here(plan_from(tmp_path, text), tmp_path / "out", 50)
    assert len(results.standings) == 2
    assert results.notes[1] == "The sampler asked for no further points."
    assert results.notes[2].startswith("Hypervolume of the front")


def test_the_storage_of_another_plan_is_refused(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    plan = plan_from(tmp_path, SPACE)
    search_here(plan, tmp_path / "one", 2, storage=storage)
    search_here(plan, tmp_path / "two", 2, storage=storage)
    other = plan_from(tmp_path, SPACE.replace("[4, 5", "[3, 5"))
    with pytest.raises(CimsimError, match="holds the study of another plan"):
        search_here(other, tmp_path / "three", 2, storage=storage)
    assert not (tmp_path / "three").exists()
    with pytest.raises(CimsimError, match="no storage of Optuna"):
        search_here(plan, tmp_path / "one", 2, storage="nonsense://x")


def test_a_reference_point_names_every_objective(tmp_path: Path) -> None:
    plan = plan_from(tmp_path, SPACE + "search: {reference: {area_mm2: 9}}\n")
    with pytest.raises(CimsimError, match="a value for every objective"):
        prepare_search(plan, tmp_path / "out")
