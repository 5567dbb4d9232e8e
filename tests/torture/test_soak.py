"""Twenty minutes of small sweeps in one process: its memory stays what it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = float(os.environ.get("CIMSIM_SOAK_SECONDS", "1200"))
ALLOWED = 1.05
# Prints the resident memory in MB after every sweep; a sweep is other points each time.
SOAK = """
import sys, time
from pathlib import Path

import cimsim
from cimsim.workload.shapes import SHAPES
from tests.small_shape import NAME, SMALL_SHAPE
from tests.tiny_model import SMALL

SHAPES[NAME] = SMALL_SHAPE
knobs = dict(knob.split("=") for knob in SMALL if "[" not in knob)
until, turn = time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < until:
    cimsim.run(
        ["isaac", "sram_digital_28nm"],
        models=sys.argv[1],
        overrides={**knobs, "run.seed": turn, "tile.pes": 8 + turn % 4},
        options=cimsim.RunOptions(cached=False),
    )
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    print(pages * 4096 / 1e6, flush=True)
    turn += 1
"""


@pytest.mark.full
def test_memory_stays_flat_over_many_runs(tiny_model: Path) -> None:
    words = [sys.executable, "-c", SOAK, str(tiny_model), f"{SECONDS}"]
    done = subprocess.run(
        words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    megabytes = [float(line) for line in done.stdout.split()]
    assert len(megabytes) > 8
    # The first quarter opens what is opened once: kernels, tables, the model.
    settled, last = megabytes[len(megabytes) // 4 :], max(megabytes[-len(megabytes) // 4 :])
    assert last <= ALLOWED * settled[0], megabytes
