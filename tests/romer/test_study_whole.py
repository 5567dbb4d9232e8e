"""The reduced study through the command line: stopped, gone on with, and read."""

from __future__ import annotations

import csv
from pathlib import Path

from romer_columns import COLUMNS
from typer.testing import CliRunner

from cimsim.cli.romer import app


def study(out: Path, *arguments: str) -> str:
    result = CliRunner().invoke(
        app,
        ["study", "--reduced", "--jobs", "2", "--out", str(out), *arguments],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    return result.output


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_reduced_study_stops_goes_on_and_says_what_held(tmp_path: Path) -> None:
    out = tmp_path / "study"
    assert "run the same command again" in study(out, "--seconds", "0")
    assert not (out / "summary.csv").exists()
    assert "written:" in study(out)
    rows = rows_of(out / "summary.csv")
    assert tuple(rows[0]) == COLUMNS
    by_name = {r["calibrator"]: r for r in rows}
    assert set(by_name) == {"romer_plus", "romer", "temperature", "verify_worst"}
    plus, verify = by_name["romer_plus"], by_name["verify_worst"]
    # Program-verify spends the rewrites of romer_plus and no more, and wins back less.
    assert 0 < float(verify["cells_rewritten"]) <= float(plus["cells_rewritten"])
    clean, noisy = float(plus["nll_clean"]), float(plus["nll_noisy"])
    assert clean < float(plus["nll_calibrated"]) < float(verify["nll_calibrated"]) < noisy
    assert float(plus["load_tv_calibrated"]) < float(plus["load_tv_noisy"])
    (first, *_) = rows_of(out / "details.csv")
    assert float(first["p99_us_noisy"]) > 0
    assert float(first["topk_agreement_calibrated"]) > float(first["topk_agreement_noisy"])
    assert float(first["loss_change_ci_low"]) < float(first["loss_change_ci_high"]) < 0.0
    page = " ".join((out / "report.md").read_text(encoding="utf-8").split())
    assert "A reduced version of the plan" in page
    assert "our reading of ROMER" in page
    assert f"{float(first['loss_change_mean']):+.3f}" in page
    assert str(tmp_path) not in page
    written = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert "written:" in study(out)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == written
