"""Plans: their files, axes, samples, constraints and objectives."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import pytest

from cimsim.config.sweep_file import plan_of
from cimsim.errors import CimsimError
from cimsim.sweeps.axes import count_settings, settings_of
from cimsim.sweeps.run import check_plan, prepare_sweep
from tests.sweep.plans import TWO_BY_TWO, plan_from

HEAD = "sweep: 1\nchips: [isaac]\naccuracy: off\n"


def test_a_grid_combines_all_values_the_last_axis_fastest(tmp_path: Path) -> None:
    plan = plan_from(tmp_path, TWO_BY_TWO)
    assert list(settings_of(plan)) == [
        (("tile.adc.bits", bits), ("tile.crossbar.rows", rows))
        for bits, rows in ((5, 64), (5, 128), (8, 64), (8, 128))
    ]


def test_zipped_axes_move_together(tmp_path: Path) -> None:
    plan = plan_from(
        tmp_path,
        HEAD + "axes: {tile.crossbar.rows: [64, 128], tile.adc.bits: [5, 6, 7], "
        "tile.crossbar.cols: [32, 64]}\nzip: [[tile.crossbar.rows, tile.crossbar.cols]]\n",
    )
    settings = [dict(s) for s in settings_of(plan)]
    assert count_settings(plan) == len(settings) == 6
    assert all(s["tile.crossbar.rows"] == 2 * s["tile.crossbar.cols"] for s in settings)


@pytest.mark.parametrize(
    ("span", "values"),
    [
        ("{low: 64, high: 512, count: 4, log: true}", [64, 128, 256, 512]),
        ("{low: 64, high: 256, count: 4}", [64, 128, 192, 256]),
        ("{low: 1, high: 4, count: 7}", [1, 2, 3, 4]),
    ],
)
def test_a_range_of_a_whole_knob_has_whole_values_once(
    tmp_path: Path, span: str, values: list[int]
) -> None:
    plan = plan_from(tmp_path, HEAD + f"axes: {{tile.crossbar.rows: {span}}}\n")
    found = [s[0][1] for s in settings_of(plan)]
    assert [type(v) for v in found] == [int] * len(found)
    assert set(found) == set(values)


@pytest.mark.parametrize("method", ["random", "latin_hypercube", "sobol"])
def test_samples_fill_the_space_and_are_the_same_for_the_same_seed(
    tmp_path: Path, method: str
) -> None:
    text = HEAD + (
        "axes: {memory.channel_gb_per_s: {low: 1, high: 1000, log: true}, "
        "tile.adc.bits: [5, 6, 7, 8]}\n"
        f"sample: {{method: {method}, points: 64, seed: 3}}\n"
    )
    plan = plan_from(tmp_path, text)
    first, again = list(settings_of(plan)), list(settings_of(plan))
    other = list(settings_of(plan_from(tmp_path, text.replace("seed: 3", "seed: 4"))))
    assert first == again != other
    speeds = np.array([log(float(dict(s)["memory.channel_gb_per_s"])) for s in first])  # type: ignore[arg-type]
    # Every quarter of the logarithm holds a quarter of a stratified sample.
    quarters = np.histogram(speeds, bins=4, range=(0.0, log(1000.0)))[0]
    assert quarters.sum() == 64
    assert np.all(abs(quarters - 16) <= (10 if method == "random" else 1))
    bits = [dict(s)["tile.adc.bits"] for s in first]
    assert {bits.count(b) for b in (5, 6, 7, 8)} == {16} or method == "random"


def test_a_command_line_spells_the_same_plan_as_a_file(tmp_path: Path) -> None:
    axes = ("tile.adc.bits=5,8", "tile.crossbar.rows=64,128")
    spelt = plan_of(("isaac",), axes, ("run.seed=3",), "off")
    filed = plan_from(tmp_path, TWO_BY_TWO + "set: {run.seed: 3}\nname: isaac\n")
    assert spelt == filed


def test_a_point_is_the_chip_that_set_makes_and_keeps_its_name_in_other_plans(
    tmp_path: Path,
) -> None:
    from cimsim.config.load import find_chip, load_chip

    points, _ = check_plan(plan_from(tmp_path, TWO_BY_TWO))
    chosen = next(p for p in points.valid if dict(p.setting) == {
        "tile.adc.bits": 5, "tile.crossbar.rows": 64})  # fmt: skip
    sets = ("tile.adc.bits=5", "tile.crossbar.rows=64")
    assert chosen.config == load_chip(find_chip("isaac"), sets)
    other, _ = check_plan(plan_of(("isaac",), ("tile.crossbar.rows=64,32",), sets[:1], "off"))
    assert chosen.name in [p.name for p in other.valid]


WRONG = {
    "unknown key": ("constraint: []", ("constraint", "did you mean 'constraints'", "plan.yaml:5")),
    "unknown knob": (
        "set: {tile.adc.bitz: 4}",
        ("set.tile.adc.bitz", "is not a knob", "'tile.adc.bits'"),
    ),
    "unknown column": ("constraints: [area_m2 <= 800]", ("area_m2", "did you mean 'area_mm2'")),
    "column of text": ("objectives: [device]", ("device", "not a column of numbers")),
    "accuracy where there is none": (
        "objectives: [ppl_calibrated_mean]",
        ("ppl_calibrated_mean", "is not a column"),
    ),
    "no comparison": ("constraints: [area_mm2]", ("COLUMN <= NUMBER",)),
    "impossible": ("constraints: [area_mm2 <= -1]", ("no chip can meet it", "below 0")),
    "contradiction": (
        "constraints: [area_mm2 <= 5, area_mm2 >= 6]",
        ("no chip can meet both", "area_mm2 <= 5 and area_mm2 >= 6"),
    ),
    "neither better": ("objectives: [power_w]", ("power_w", "min power_w, max power_w")),
    "fidelity without accuracy": (
        "fidelity: [{tokens: 256}]",
        ("fidelity has no effect where accuracy is off",),
    ),
    "zip of nothing": ("zip: [[tile.adc.bits, tile.dac.bits]]", ("zip names 'tile.dac.bits'",)),
}


@pytest.mark.parametrize("mistake", list(WRONG))
def test_what_is_wrong_is_one_sentence(tmp_path: Path, mistake: str) -> None:
    text, says = WRONG[mistake]
    with pytest.raises(CimsimError) as caught:
        check_plan(plan_from(tmp_path, HEAD + "axes: {tile.adc.bits: [5]}\n" + text + "\n"))
    sentence = caught.value.sentence()
    assert "\n" not in sentence
    for words in says:
        assert words in sentence


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        ("{}", "the plan is empty: no axis"),
        ("{tile.adc.bits: []}", "the plan is empty: axis tile.adc.bits has no value"),
        ("{tile.adc.bits: {low: 5, high: 3}}", "low (5) must lie below high (3)"),
        ("{tile.adc.bits: {low: 5, high: 8}}", "a range needs count in a grid"),
        ("{tile.adc.bits: {low: 0, high: 8, log: true}}", "must lie above 0"),
        ("{tile.adc.bits: [99]}", "tile.adc.bits"),
    ],
)
def test_axes_that_make_no_points_are_refused(tmp_path: Path, axes: str, says: str) -> None:
    with pytest.raises(CimsimError) as caught:
        check_plan(plan_from(tmp_path, HEAD + f"axes: {axes}\n"))
    assert says in caught.value.sentence()


def test_all_invalid_values_are_listed_before_anything_runs(tmp_path: Path) -> None:
    plan = plan_from(
        tmp_path, HEAD + "axes: {tile.adc.bits: [5, 40, 99], tile.crossbar.rows: [64, 128]}\n"
    )
    with pytest.raises(CimsimError) as caught:
        check_plan(plan)
    sentence = caught.value.sentence()
    assert "(found 40)" in sentence
    assert "(found 99)" in sentence
    assert sentence.count("(2 points)") == 2
    assert "--skip-invalid" in sentence
    points, _ = check_plan(plan, skip_invalid=True)
    assert [dict(p.setting)["tile.adc.bits"] for p in points.valid] == [5, 5]


def test_a_billion_points_are_told_in_days_and_refused_at_once(tmp_path: Path) -> None:
    axes = ", ".join(
        f"{knob}: {{low: 1, high: 2, count: 1000}}"
        for knob in ("memory.channel_gb_per_s", "technology.clock_ghz", "noc.clock_ghz")
    )
    with pytest.raises(CimsimError, match=r"1,000,000,000 points: that is [\d,]+ days") as caught:
        prepare_sweep(plan_from(tmp_path, HEAD + f"axes: {{{axes}}}\n"), tmp_path / "out")
    assert "name a sample" in caught.value.sentence()
    assert not (tmp_path / "out").exists()
