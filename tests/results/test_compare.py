"""Comparing two runs: matched by chip and model, judged by the column's direction."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_run import fake_chip, fake_run

from cimsim.errors import CimsimError
from cimsim.results import Manifest, RunFolder, compare_runs, read_results
from cimsim.results.columns import RESULTS


def test_changes_are_judged_by_the_direction_of_the_column() -> None:
    row = fake_chip(0).row
    other = {
        **row,
        "ppl_noisy_mean": row["ppl_noisy_mean"] * 1.1,
        "tokens_per_s": row["tokens_per_s"] * 2,
        "mapper": "round_robin",
        "latency_p99_us": None,
    }
    found = {c.column.name: c for c in compare_runs([row], [other], RESULTS)}
    assert set(found) == {"ppl_noisy_mean", "tokens_per_s", "mapper", "latency_p99_us"}
    assert found["ppl_noisy_mean"].verdict == "worse"
    assert found["ppl_noisy_mean"].relative == pytest.approx(0.1)
    assert (found["tokens_per_s"].verdict, found["tokens_per_s"].relative) == ("better", 1.0)
    assert (found["mapper"].verdict, found["mapper"].relative) == ("changed", None)
    assert found["latency_p99_us"].verdict == "changed"


def test_differences_within_the_tolerance_are_no_change() -> None:
    row = fake_chip(0).row
    other = {**row, "area_mm2": row["area_mm2"] * (1 + 1e-6)}
    assert compare_runs([row], [other], RESULTS, tolerance=1e-5) == []
    assert len(compare_runs([row], [other], RESULTS)) == 1


def test_chips_in_one_run_only_are_left_out() -> None:
    a, b = fake_chip(0).row, fake_chip(1).row
    assert compare_runs([a], [b], RESULTS) == []


def test_results_read_back_with_the_batch_sizes_of_the_run(tmp_path: Path) -> None:
    run = replace(fake_run(2), batches=(1, 8, 32))
    chips = [c.name for c in run.chips]
    manifest = Manifest("ab" * 32, ("cimsim",), datetime(2026, 1, 1, tzinfo=UTC), chips, chips)
    store = RunFolder(tmp_path / "run")
    store.prepare(manifest)
    store.write_run(run, manifest)
    table, rows = read_results(tmp_path / "run")
    assert "tpot_p99_us_b32" in table.by_name
    assert [r["config"] for r in rows] == chips
    assert compare_runs(rows, run.tables()["results"], table, tolerance=1e-9) == []
    # A spreadsheet that saves the table again puts a byte order mark and other line ends.
    path = tmp_path / "run" / "results.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_results(tmp_path / "run")[1] == rows


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\n"])
def test_foreign_results_are_a_user_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "results.csv").write_bytes(content)
    with pytest.raises(CimsimError, match="cannot be read"):
        read_results(tmp_path)


def test_folder_without_results_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match=r"no results\.csv"):
        read_results(tmp_path)
