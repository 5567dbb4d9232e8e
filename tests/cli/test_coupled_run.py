"""The example of a chip whose numbers depend on time, through the command line."""

from __future__ import annotations

import csv
from pathlib import Path

from conftest import Cimsim, small_run

SMALLER = ("--set", "chip.tiles=1", "--set", "tile.pes=6")  # half of the experts


def test_a_noisy_chip_that_switches_experts_runs_and_says_what_time_did(
    cimsim: Cimsim, tiny_model: Path, tmp_path: Path
) -> None:
    options = (*small_run(tiny_model), *SMALLER, "--set", "run.chip_seeds=1", "--out", "out")
    done = cimsim("run", "reram_switching", *options)
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader((tmp_path / "out" / "results.csv").open())
    assert float(row["expert_switches_per_token"]) > 0
    assert 0 < float(row["expert_hit_rate"]) < 1
    page = " ".join((tmp_path / "out" / "report.md").read_text(encoding="utf-8").split())
    assert "numbers depend on time: chip seed 0 has perplexity" in page
    assert "expert switches per token" in page


def test_trace_mode_is_refused_by_name_with_exit_code_2(cimsim: Cimsim, tiny_model: Path) -> None:
    refused = cimsim(
        "run", "reram_switching", *small_run(tiny_model), *SMALLER, "--set", "run.coupling=trace"
    )
    assert refused.returncode == 2
    assert "run.coupling" in refused.stderr
    assert "auto, coupled" in refused.stderr


def test_explain_says_when_numbers_and_time_are_coupled(cimsim: Cimsim) -> None:
    said = cimsim("explain", "run.coupling")
    assert said.returncode == 0
    assert "least loaded" in " ".join(said.stdout.split())
