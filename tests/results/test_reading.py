"""Tables of an earlier run read back, and folders that hold none."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_run import fake_run

from cimsim.errors import CimsimError
from cimsim.results import Manifest, RunFolder
from cimsim.stages.columns.registry import run_tables
from cimsim.stages.contenders import read_contenders

SHAPE = ("OLMoE-1B-7B", 32)


def test_results_read_back_with_the_batch_sizes_of_the_run(tmp_path: Path) -> None:
    run = replace(fake_run(2), schema=run_tables((1, 8, 32)))
    chips = [c.name for c in run.chips]
    manifest = Manifest("ab" * 32, ("cimsim",), datetime(2026, 1, 1, tzinfo=UTC), chips, chips)
    store = RunFolder(tmp_path / "run")
    store.prepare(manifest)
    store.write_run(run)
    store.write_manifest(replace(manifest, reported=True))
    found = read_contenders(tmp_path / "run", chips, *SHAPE)
    assert [c.name for c in found] == chips
    assert found[0].row["tpot_p99_us_b32"] is None
    for name, cell in run.tables()["results"][0].items():
        if isinstance(cell, float):
            assert found[0].row[name] == pytest.approx(cell, rel=1e-9)
        else:
            assert found[0].row[name] == cell
    # A spreadsheet that saves the table again puts a byte order mark and other line ends.
    path = tmp_path / "run" / "results.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_contenders(tmp_path / "run", chips, *SHAPE) == found


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\n"])
def test_foreign_results_are_a_user_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "results.csv").write_bytes(content)
    with pytest.raises(CimsimError, match="cannot be read"):
        read_contenders(tmp_path, ["a", "b"], *SHAPE)


def test_folder_without_results_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(CimsimError, match=r"no results\.csv"):
        read_contenders(tmp_path, ["a", "b"], *SHAPE)
