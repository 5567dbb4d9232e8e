"""The paper's table of a model of the user's: random weights in released layouts."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tiny_model import SMALL
from typer.testing import CliRunner

from cimsim.cli.romer import app
from cimsim.errors import CimsimError
from cimsim.results.statistics import Interval
from romer.study.checkpoint_table import TableRow, markdown_table

KNOBS = [word for knob in SMALL for word in ("--set", knob)]


def study(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["study", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_row_for_every_size_of_error_and_temperature(tmp_path: Path, tiny_model: Path) -> None:
    words = tmp_path / "mine.txt"
    words.write_text("a text of the user's own, whose perplexity is asked for. " * 60)
    out = tmp_path / "table"
    said = study("--out", str(out), "--model", str(tiny_model), "--text", str(words), "--chips",
                 "2", "--sigma", "1", "--sigma", "60", "--temperature", "25", *KNOBS)  # fmt: skip
    small, large = csv.DictReader((out / "table.csv").read_text().splitlines())
    assert (small["sigma_lsb"], large["sigma_lsb"]) == ("1", "60")
    assert small["tokens"] == large["tokens"] == "128"
    assert small["ppl_clean"] == large["ppl_clean"]
    away = [abs(float(r["ppl_noisy"]) / float(r["ppl_clean"]) - 1.0) for r in (small, large)]
    assert away[0] < away[1]
    assert float(small["agreement_noisy"]) > float(large["agreement_noisy"])
    for row in (small, large):
        assert row["temperature_c"] == "25"
        low, mean, high = (float(row[f"ppl_noisy{end}"]) for end in ("_low", "", "_high"))
        assert low < mean < high
    assert (out / "table.md").read_text().startswith("# tiny moe on eflash_40nm, mine.txt")
    assert "| 60 | 25 | 2 |" in said


def test_steps_that_are_not_kept_leave_the_noisy_chip_as_it_is(
    tmp_path: Path, tiny_model: Path
) -> None:
    out = tmp_path / "table"
    study("--out", str(out), "--model", str(tiny_model), "--chips", "2", "--sigma", "0.1",
          "--set", "calibration.min_gain_nats=10", *KNOBS)  # fmt: skip
    (row,) = csv.DictReader((out / "table.csv").read_text().splitlines())
    assert row["kept"] == "0"
    assert row["ppl_noisy"] == row["ppl_two_steps"] == row["ppl_recommended"]
    assert row["load_cv_noisy"] == row["load_cv_recommended"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "nothing-here"), "no such folder"),
        (("--model", "olmoe-tiny", "--text", "absent.txt"), "absent.txt"),
        (("--model", "olmoe-tiny", "--sigma", "-1"), "sigma_lsb"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(CimsimError, match=message) as caught:
        study("--out", str(tmp_path / "table"), *arguments)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "table").exists()


def test_one_chip_has_no_interval() -> None:
    one, two = Interval(20.0, 20.0, 20.0, 1), Interval(19.0, 18.5, 19.5, 2)
    row = TableRow(None, 25.0, 1, 64, 18.0, one, one, two, 0.5, 0.6, 0.55, 0.9, 0.95, 1)
    line = markdown_table([row]).splitlines()[2]
    assert line.startswith("| its own | 25 | 1 | 18.00 | 20.00 | 20.00 | 19.00 (18.50 to 19.50) |")
    assert line.endswith("| 0.50 / 0.60 / 0.55 | 90.0% / 95.0% | 1 of 1 |")
    assert row.record()["ppl_recommended_high"] == 19.5
