"""Chips on equal terms: whole copies, classes of node and bits, and the command."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.cli.compare_table import comparison_lines
from cimsim.config.chip import ShapeName
from cimsim.config.load import find_chip, load_chip
from cimsim.config.shape_file import bundled_shapes
from cimsim.cost.technology import area_factor, energy_factor, nominal_vdd_v
from cimsim.errors import CimsimError
from cimsim.model import build_program
from cimsim.results import csv_bytes
from cimsim.stages.columns.details import PER_SEED
from cimsim.stages.columns.registry import results_table
from cimsim.stages.columns.scale import SCALE
from cimsim.stages.compare import compare_chips
from cimsim.stages.contenders import Contender, contenders
from cimsim.stages.full_size import full_size_row
from cimsim.stages.models import open_model
from cimsim.stages.node_scaling import at_node
from cimsim.stages.shapes import open_shape
from cimsim.workload.shapes import SHAPES
from cimsim.zoo import model_folder
from tests.command_line import run_here
from tests.results.fake_run import fake_run


def chip(name: str, *, area: float, power: float, energy_nj: float, **cells: Any) -> Contender:
    scale: dict[str, Any] = {
        "config": name,
        "shape": "olmoe-1b-7b",
        "device": "reram",
        "phase": "decode",
        "batch": 32,
        "tiles": 10,
        "node_nm": 32.0,
        "weight_bits": 8,
        "input_bits": 8,
        "adc_bits": 8,
        "adc_model": "isaac",
        "latency_us": 5.0,
        "latency_error_us": 0.1,
        "chips": 1,
        "dies": 2,
        "energy_leakage_nj": None,
        "energy_off_chip_per_token_nj": 0.0,
        "critical_resource": "memory channels",
        "area_mm2": area,
        "power_w": power,
        "energy_per_token_nj": energy_nj,
    }
    row: dict[str, Any] = {
        "model": "olmoe-tiny",
        "chip_hash": "0" * 12,
        "tokens": 512,
        "context": 64,
        "chip_seeds": 3,
        "calibrator": "romer_plus",
        "ppl_float": 13.9,
        "ppl_calibrated_mean": 14.2,
        "ppl_calibrated_ci_low": 14.0,
        "ppl_calibrated_ci_high": 14.4,
        "ppl_unigram": 900.0,
        "destroyed_calibrated": False,
    }
    for key, value in cells.items():
        (row if key in row else scale)[key] = value
    return Contender(row, scale)


def test_equal_area_takes_as_much_of_a_small_chip_as_covers_the_large_one() -> None:
    big = chip("big", area=400.0, power=8.0, energy_nj=2000.0)
    small = chip("small", area=100.0, power=1.0, energy_nj=1000.0)
    one, four = compare_chips([big, small], "area").systems
    assert (one.copies, four.copies) == (1, 4)
    # 8 W at 2 uJ per token are 4e6 tokens/s; 4 x 1 W at 1 uJ the same.
    assert one.as_dict()["tokens_per_s"] == pytest.approx(4e6)
    assert four.as_dict()["tokens_per_s"] == pytest.approx(4e6)
    assert four.as_dict()["power_w"] == pytest.approx(4.0)
    assert four.as_dict()["dies"] == pytest.approx(8)
    assert four.as_dict()["energy_per_token_nj"] == 1000.0
    assert four.as_dict()["tpot_us"] == 5.0


def test_a_fraction_is_taken_of_what_is_larger_than_the_reference() -> None:
    a = chip("a", area=100.0, power=3.0, energy_nj=1000.0)
    b = chip("b", area=100.0, power=2.0, energy_nj=500.0)
    assert [s.copies for s in compare_chips([a, b], "power").systems] == [1, 1.5]
    # 3e6 and 4e6 tokens/s.
    assert [s.copies for s in compare_chips([a, b], "throughput").systems] == [1, 0.75]


def test_any_chip_can_be_the_reference() -> None:
    a = chip("a", area=100.0, power=3.0, energy_nj=1000.0)
    b = chip("b", area=400.0, power=2.0, energy_nj=500.0)
    found = compare_chips([a, b], "area", reference="b")
    assert found.reference == "b"
    assert [s.copies for s in found.systems] == [4, 1]
    with pytest.raises(CimsimError, match="allowed: a, b"):
        compare_chips([a, b], "area", reference="c")


@given(st.lists(st.floats(1.0, 1e5), min_size=2, max_size=5))
def test_every_system_equals_the_reference(areas: list[float]) -> None:
    chips = [chip(f"c{i}", area=a, power=1.0, energy_nj=1.0) for i, a in enumerate(areas)]
    found = compare_chips(chips, "area")
    assert [s.copies * s.chip.area_mm2 for s in found.systems] == pytest.approx(
        [areas[0]] * len(areas)
    )
    # Equal in area, power apart: whoever is smallest gives the most tokens and is on the front.
    assert found.systems[areas.index(min(areas))].on_front


def test_a_node_is_scaled_by_the_stated_rule_and_said() -> None:
    old = chip("old", area=100.0, power=1.0, energy_nj=1000.0, node_nm=65.0,
               energy_leakage_nj=100.0, energy_off_chip_per_token_nj=300.0)  # fmt: skip
    scaled, notes = at_node(old, 32.0)
    energy = energy_factor(65.0, 32.0, source_vdd_v=None, target_vdd_v=nominal_vdd_v(32.0))
    assert energy < 0.5
    # 600 nJ are dynamic on the chip, 400 nJ stay.
    assert scaled.energy_per_token_nj == pytest.approx(400 + 600 * energy)
    assert scaled.area_mm2 == pytest.approx(100 * area_factor(65.0, 32.0))
    assert scaled.tokens_per_s == pytest.approx(old.tokens_per_s)
    assert not notes
    other = chip("new", area=100.0, power=1.0, energy_nj=1000.0)
    found = compare_chips([old, other], "area", node_nm=32.0)
    assert len(found.classes()) == 1
    assert any("as digital logic" in w for w in found.warnings)
    assert not any("nodes differ" in w for w in found.warnings)
    # A chip at its own node stays as it is.
    assert found.systems[1].chip.energy_per_token_nj == pytest.approx(1000.0)


def test_nodes_and_bits_are_kept_apart_and_said() -> None:
    chips = [
        chip("best", area=1.0, power=1.0, energy_nj=1.0),
        chip("worse", area=1.0, power=1.0, energy_nj=2.0),
        chip("other_node", area=1.0, power=1.0, energy_nj=3.0, node_nm=7.0),
        chip("other_bits", area=1.0, power=1.0, energy_nj=3.0, weight_bits=4),
    ]
    found = compare_chips(chips, "area")
    # Alone in its class a chip is on the front, however bad.
    assert [s.on_front for s in found.systems] == [True, False, True, True]
    assert any("nodes differ (7, 32 nm)" in w for w in found.warnings)
    assert any("bits of weights" in w for w in found.warnings)
    assert len(found.classes()) == 3
    assert sum(line.startswith("-- ") for line in comparison_lines(found)) == 3


def test_a_destroyed_chip_is_on_no_front_and_keeps_none_from_it() -> None:
    lost = {"ppl_calibrated_mean": 13109.0, "destroyed_calibrated": True}
    chips = [
        chip("destroyed", area=1.0, power=1.0, energy_nj=1.0, **lost),
        chip("alive", area=1.0, power=1.0, energy_nj=2.0),
        chip("alone_in_its_class", area=1.0, power=1.0, energy_nj=1.0, node_nm=7.0, **lost),
    ]
    found = compare_chips(chips, "area")
    assert [s.on_front for s in found.systems] == [False, True, False]
    assert [s.as_dict()["destroyed"] for s in found.systems] == [True, False, True]
    assert found.systems[0].as_dict()["ppl_unigram"] == 900.0
    lines = comparison_lines(found)
    assert [line.split()[-2:] for line in lines if line.startswith("destroyed ")] == [
        ["1e-06", "13,109+"]
    ]
    assert max(map(len, lines)) <= 80
    assert any("on no front: destroyed, alone_in_its_class" in w for w in found.warnings)


def test_what_makes_perplexities_unlike_is_said() -> None:
    a = chip("a", area=1.0, power=1.0, energy_nj=1.0, chip_seeds=1, calibrator="identity")
    b = chip("b", area=1.0, power=1.0, energy_nj=1.0, tokens=1024, model="qwen-moe-tiny")
    words = " | ".join(compare_chips([a, b], "area").warnings)
    for part in ("different models", "scored tokens", "one chip seed", "not calibrated: a"):
        assert part in words


def test_the_table_fits_eighty_columns_with_long_names_and_large_numbers() -> None:
    name = "pcm_two_cells_per_weight_wide_array_2027"
    chips = [
        chip(name, area=123456.7, power=98765.4, energy_nj=1.2e8, ppl_calibrated_mean=1234.5),
        chip("tiny", area=0.0123, power=1e-4, energy_nj=0.5),
    ]
    lines = comparison_lines(compare_chips(chips, "power"))
    assert max(map(len, lines)) <= 80


def test_the_shapes_of_the_knob_are_those_that_exist() -> None:
    assert set(ShapeName.__args__) == {*SHAPES, *bundled_shapes()}  # type: ignore[attr-defined]


def test_any_config_json_of_a_known_family_is_a_shape(tmp_path: Path) -> None:
    config = model_folder("qwen-moe-tiny") / "config.json"
    found, program = open_shape(str(config)), build_program(open_model("qwen-moe-tiny"))
    assert (found.name, found.operations) == (program.name, program.operations)
    chip = load_chip(find_chip("isaac"), (f"workload.shape={config}",))
    row = full_size_row(chip, 0.6)
    assert row["shape"] == "qwen-moe-tiny"
    assert row["macs_per_token"] > program.linear_macs_per_token()
    (tmp_path / "config.json").write_text('{"model_type": "other"}')
    with pytest.raises(CimsimError, match="unknown model family"):
        open_shape(str(tmp_path / "config.json"))
    with pytest.raises(CimsimError, match=r"neither a known model shape nor a shape file"):
        open_shape("nowhere.json")


def write_run(folder: Path, n_chips: int) -> list[str]:
    run = fake_run(n_chips)
    tables = run.tables()
    folder.mkdir()
    (folder / "results.csv").write_bytes(csv_bytes(results_table(run.batches), tables["results"]))
    scale = [{**row, "shape": "olmoe-1b-7b"} for row in tables["scale"]]
    (folder / "scale.csv").write_bytes(csv_bytes(SCALE, scale))
    (folder / "per_seed.csv").write_bytes(csv_bytes(PER_SEED, tables["per_seed"]))
    return [c.name for c in run.chips]


def cimsim(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return run_here("compare", *args)


def test_the_command_reads_a_run_and_prints_json(tmp_path: Path) -> None:
    names = write_run(tmp_path / "run", 3)
    done = cimsim(*names, "--results", tmp_path / "run", "--iso", "power", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [s["config"] for s in found["systems"]] == names
    watts = [s["power_w"] for s in found["systems"]]
    assert watts == pytest.approx([watts[0]] * 3)
    assert (found["iso"], found["reference"]) == ("power", names[0])
    assert [(p["config"], p["reference"]) for p in found["pairs"]] == [
        (n, names[0]) for n in names[1:]
    ]
    for system in found["systems"]:
        assert {"node_nm", "weight_bits", "area_mm2", "ppl_ci_low", "pareto"} <= system.keys()


def test_baselines_stand_beside_chips_as_equal_as_they_are(tmp_path: Path) -> None:
    names = write_run(tmp_path / "run", 2)
    words = (*names, "--results", tmp_path / "run", "--baseline", "h200", "--baseline", "a100")
    found = json.loads(cimsim(*words, "--iso", "power", "--json").stdout)
    watts = found["systems"][0]["power_w"]
    assert [b["power_w"] for b in found["baselines"]] == pytest.approx([watts] * 8)
    assert {b["baseline"] for b in found["baselines"]} == {"h200", "a100"}
    said = cimsim(*words).stdout
    assert "h200 fp8" in said
    assert "assumed" in said
    assert "baseline" not in cimsim(*words[:4]).stdout
    refused = cimsim(*words[:4], "--baseline", "h300")
    assert refused.returncode == 2
    assert "did you mean 'h200'?" in refused.stderr


def test_the_command_writes_csv_and_a_figure(tmp_path: Path) -> None:
    names = write_run(tmp_path / "run", 3)
    csv, plot = tmp_path / "c.csv", tmp_path / "c.svg"
    done = cimsim(*names, "--results", tmp_path / "run", "--csv", csv, "--plot", plot,
                  "--reference", names[1])  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"the area of one {names[1]}")
    frame = pd.read_csv(csv)
    assert list(frame["config"]) == names
    assert frame["area_mm2"].to_numpy() == pytest.approx([frame["area_mm2"][1]] * 3)
    drawn = plot.read_text(encoding="utf-8")
    assert all(word in drawn for word in (*names, "ms per token", "perplexity"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--iso", "volume"], "volume"),
        (["--batch", "7"], "--batch"),
        (["--shape", "mixtral-8x7b"], "--shape"),
        (["--tokens", "64"], "no effect"),
        (["--reference", "nobody"], "--reference"),
        (["--plot", "figure.gif"], "--plot"),
        (["hermez"], "hermes"),
    ],
)
def test_bad_input_is_refused_with_exit_code_2(
    tmp_path: Path, options: list[str], words: str
) -> None:
    names = write_run(tmp_path / "run", 3)
    done = cimsim(*names, "--results", tmp_path / "run", *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert not done.stdout


def test_a_comparison_needs_two_different_chips() -> None:
    run = fake_run(2)
    tables = run.tables()
    rows = tables["results"], tables["scale"], tables["per_seed"]
    with pytest.raises(CimsimError, match="two chips"):
        contenders(*rows, ["isaac"], "olmoe-1b-7b", 32)
    with pytest.raises(CimsimError, match="twice"):
        contenders(*rows, ["isaac", "isaac"], "olmoe-1b-7b", 32)
