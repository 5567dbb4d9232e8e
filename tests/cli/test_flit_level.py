"""The flit-level network through the command line."""

from __future__ import annotations

import csv
from pathlib import Path

from conftest import Cimsim, small_run

FLIT = ("--set", "noc.level=flit")


def test_a_run_at_the_flit_level_says_so_and_knows_its_knobs(
    cimsim: Cimsim, tiny_model: Path, tmp_path: Path
) -> None:
    options = (*small_run(tiny_model), "--set", "run.chip_seeds=1", "--set", "tile.pes=1")
    rows = []
    for out, more in (("flit", FLIT), ("packet", ("--set", "noc.level=packet"))):
        done = cimsim("run", "isaac", *options, *more, "--out", out)
        assert done.returncode == 0, done.stderr
        rows += csv.DictReader((tmp_path / out / "results.csv").open())
    flit, packet = rows
    assert flit["network_model"] == "flit level"
    assert packet["network_model"].startswith("packet level")
    assert float(flit["latency_mean_us"]) != float(packet["latency_mean_us"])
    assert flit["ppl_noisy_mean"] == packet["ppl_noisy_mean"]


def test_the_compiled_engine_is_refused_by_name_before_anything_runs(
    cimsim: Cimsim, tiny_model: Path
) -> None:
    refused = cimsim("run", "isaac", *small_run(tiny_model), *FLIT, "--engine", "compiled")
    assert refused.returncode == 2
    assert "noc.level" in refused.stderr
    assert "packet, auto" in refused.stderr
