"""A sweep that is killed at any moment: the same command gives the bytes of one that was not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = [sys.executable, str(ROOT / "tests" / "small_shape.py")]
AXES = (
    "sweep", "isaac", "--accuracy", "off",
    "--axis", "tile.adc.bits=4,6,8", "--axis", "tile.crossbar.rows=32,64,128",
    "--axis", "noc.flit_bits=32,64", "--jobs", "1",
)  # fmt: skip
TABLES = ("sweep.csv", "report.html", "sweep.parquet")


def command(out: Path) -> list[str]:
    return [*SMALL, *AXES, "--out", str(out)]


def kill_at(out: Path, seconds: float) -> None:
    """Start the sweep and kill it with all its processes."""
    with subprocess.Popen(
        command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("times", [1, pytest.param(50, marks=pytest.mark.full)])
def test_a_sweep_that_was_killed_goes_on_to_the_same_bytes(times: int, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    begun = time.monotonic()
    subprocess.run(command(whole), check=True, capture_output=True)
    lasts = time.monotonic() - begun
    moments = random.Random(0)
    for turn in range(times):
        out = tmp_path / f"killed{turn}"
        kill_at(out, moments.uniform(0.3, 1.0) * lasts)
        done = subprocess.run(command(out), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for name in TABLES:
            assert (out / name).read_bytes() == (whole / name).read_bytes(), name
