"""A disk that is full or broken at any write of a run: one sentence, exit 1, whole files."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cimsim.errors import SimulationError
from cimsim.report import write_report
from cimsim.results import Manifest, RunFolder, RunResults
from cimsim.results.packed import unpack
from cimsim.results.run import CHIP_RECORDS
from tests.results.fake_run import fake_run

STARTED = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def run() -> RunResults:
    return fake_run(2)


def write_all(out: Path, run: RunResults) -> None:
    """Write a run as a session does."""
    names = tuple(c.name for c in run.chips)
    command = ("cimsim", "run")
    folder = RunFolder(out)
    folder.prepare(Manifest("ab" * 32, command, STARTED, names), {"text_name": "heldout.txt"})
    try:
        for number, chip in enumerate(run.chips, 1):
            folder.write_chip(chip, run.schema)
            folder.write_manifest(Manifest("ab" * 32, command, STARTED, names, names[:number]))
        folder.write_run(run)
        write_report(folder, run)
        folder.write_manifest(Manifest("ab" * 32, command, STARTED, names, names, reported=True))
    finally:
        folder.release()


@pytest.mark.parametrize(
    ("number", "every"),
    [
        (errno.ENOSPC, 3),
        pytest.param(errno.ENOSPC, 1, marks=pytest.mark.full),
        pytest.param(errno.EIO, 1, marks=pytest.mark.full),
    ],
)
def test_a_disk_that_fails_at_any_write_leaves_whole_files(
    number: int, every: int, run: RunResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, fail_at = 0, -1

    def fsync(_: int) -> None:
        nonlocal calls
        calls += 1
        if calls >= fail_at >= 0:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    write_all(tmp_path / "whole", run)
    whole = {p.relative_to(tmp_path / "whole"): p.read_bytes() for p in files(tmp_path / "whole")}
    writes = calls
    assert writes > 40
    # The report is drawn anew for each of its writes: of them, the last one alone is tried here.
    for moment in (*range(1, 31, every), writes):
        calls, fail_at = 0, moment
        out = tmp_path / f"run{moment}"
        with pytest.raises(SimulationError, match=os.strerror(number)) as caught:
            write_all(out, run)
        assert caught.value.exit_code == 1
        for path in files(out):
            if path.name != "manifest.json":
                assert path.read_bytes() == whole[path.relative_to(out)], path
        if (out / "manifest.json").exists():
            manifest = json.loads((out / "manifest.json").read_bytes())
            assert manifest["complete"] is False
            for name in manifest["finished"]:
                unpack((out / "chips" / name / "result.packed").read_bytes(), CHIP_RECORDS)


def files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file()]
