"""Runs that are stopped: whole files only, nobody left, resumable, the same bytes in the end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_model import SMALL

from tests.torture.killed import CHIPS, faults, small_run, stop

MOMENTS = pytest.mark.parametrize("moments", [1, pytest.param(50, marks=pytest.mark.full)])
SIGNALS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}


def tables(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.csv")}


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, scaled: Callable[[int], int]
) -> tuple[Path, float]:
    """The folder of a whole run and its seconds; of many moments, without compiling kernels."""
    for _ in range(min(2, scaled(10))):
        folder = tmp_path_factory.mktemp("whole") / "run"
        begun = time.monotonic()
        subprocess.run(small_run(folder, tiny_model, SMALL, 2), check=True, capture_output=True)
    return folder, time.monotonic() - begun


@MOMENTS
@pytest.mark.parametrize("jobs", [pytest.param(1, marks=pytest.mark.full), 2])
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        signal.SIGTERM,
        *(pytest.param(n, marks=pytest.mark.full) for n in (signal.SIGINT, signal.SIGHUP)),
    ],
    ids=lambda n: n.name,
)
def test_a_run_that_is_stopped_leaves_whole_files_and_nobody_behind(
    number: signal.Signals,
    jobs: int,
    moments: int,
    tmp_path: Path,
    tiny_model: Path,
    whole: tuple[Path, float],
) -> None:
    draw = random.Random(f"{number} {jobs}")
    codes = set()
    for turn in range(moments):
        folder = tmp_path / f"run{turn}"
        moment = draw.uniform(0.1, 1.05) * whole[1]
        words = small_run(folder, tiny_model, SMALL, jobs)
        left = stop(words, lambda s, m=moment: s >= m, number, all_of_it=turn % 2 == 1)
        assert left.left == (), (number, moment)
        assert "Traceback" not in left.said, left.said
        assert faults(folder) == []
        codes.add(left.code)
        if turn % 10 == 9:
            again = subprocess.run([*words, "--resume"], capture_output=True, check=False)
            assert again.returncode == 0, again.stderr
            assert tables(folder) == tables(whole[0])
    assert codes <= {SIGNALS[number], 0}


def test_a_run_that_was_killed_is_reported_and_goes_on_to_the_same_bytes(
    tmp_path: Path, tiny_model: Path, whole: tuple[Path, float]
) -> None:
    folder = tmp_path / "run"
    command = small_run(folder, tiny_model, SMALL, 2)

    def one_is_finished(_: float) -> bool:
        manifest = folder / "manifest.json"
        return manifest.exists() and bool(json.loads(manifest.read_bytes())["finished"])

    left = stop(command, one_is_finished, signal.SIGKILL)
    assert left.left == ()
    assert faults(folder) == []
    finished = json.loads((folder / "manifest.json").read_bytes())["finished"]
    assert finished
    assert not (folder / "report.html").exists()
    (folder / "chips" / ".half.1.tmp").write_bytes(b"half")
    words = [*command[:2], "report", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "report.html").exists()
    assert (folder / "results.csv").read_bytes().count(b"\n") == 1 + len(finished)
    assert json.loads((folder / "manifest.json").read_bytes())["complete"] is (
        len(finished) == len(CHIPS)
    )
    assert list(folder.rglob("*.tmp")) == []
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert tables(folder) == tables(whole[0])
    assert json.loads((folder / "manifest.json").read_bytes())["complete"] is True


@pytest.mark.full
def test_of_two_runs_into_one_folder_the_second_is_refused(
    tmp_path: Path, tiny_model: Path
) -> None:
    folder = tmp_path / "run"
    started = [
        subprocess.Popen(
            [*small_run(folder, tiny_model, SMALL, 1), "--seed", str(seed)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "CIMSIM_NO_CACHE": "1"},
        )
        for seed in (1, 2)
    ]
    said = [process.communicate(timeout=300)[1] for process in started]
    assert sorted(process.returncode for process in started) == [0, 2], said
    refused = said[0] if started[0].returncode == 2 else said[1]
    assert "another run writes into the folder" in refused or "is not empty" in refused
    assert faults(folder) == []


def test_a_report_of_no_run_is_refused(tmp_path: Path) -> None:
    from tests.command_line import run_here

    done = run_here("report", tmp_path)
    assert done.returncode == 2
    assert "is not the manifest of a run" in done.stderr
    assert list(tmp_path.iterdir()) == []
