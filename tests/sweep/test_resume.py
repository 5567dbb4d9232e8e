"""A run that is killed goes on where it was, to the same bytes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_model import SMALL

from tests.run_files import files_of
from tests.sweep.test_processes import gone

CHIPS = ("isaac", "sram_digital_28nm", "hermes")
PLUGIN = "from tests.small_shape import NAME, SHAPES, SMALL_SHAPE\nSHAPES[NAME] = SMALL_SHAPE\n"


def command(folder: Path, model: Path, out: str, *options: str) -> list[str]:
    (folder / "small.py").write_text(PLUGIN)
    knobs = [word for knob in SMALL for word in ("--set", knob)]
    return [sys.executable, "-m", "cimsim", "run", *CHIPS, "--model", str(model), *knobs,
            "--plugin", str(folder / "small.py"), "--jobs", "2", "--threads", "1",
            "--out", str(folder / out), *options]  # fmt: skip


def finish(words: list[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


def kill(words: list[str], after_s: float) -> None:
    """Start a command, kill it after a time, and see that nothing of it goes on."""
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    time.sleep(after_s)
    children = children_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert all(gone(child, 5.0) for child in children)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[Path, float]:
    """The folder of a run that nobody disturbed, and how long it took."""
    folder = tmp_path_factory.mktemp("whole")
    started = time.monotonic()
    finish(command(folder, tiny_model, "run", "--resume"))
    return folder, time.monotonic() - started


def test_runs_that_are_killed_at_random_moments_resume_to_the_same_bytes(
    tmp_path: Path, tiny_model: Path, whole: tuple[Path, float], scaled: Callable[[int], int]
) -> None:
    folder, seconds = whole
    draw = random.Random(15)
    kills, folders = scaled(50), 0
    while kills:
        folders += 1
        words = command(tmp_path, tiny_model, f"killed{folders}", "--resume")
        for _ in range(min(5, kills)):
            kill(words, draw.uniform(0.2, seconds))
            kills -= 1
        finish(words)
        left = files_of(tmp_path / f"killed{folders}")
        # Only a file that was being written when its process was killed is left over.
        assert {n: d for n, d in left.items() if not n.endswith(".tmp")} == files_of(folder / "run")


def test_finished_chips_are_not_computed_again_and_other_plans_are_refused(
    tmp_path: Path, tiny_model: Path, whole: tuple[Path, float]
) -> None:
    shutil.copytree(whole[0] / "run", tmp_path / "run")
    words = command(tmp_path, tiny_model, "run", "--resume")
    first = files_of(tmp_path / "run")
    damaged = tmp_path / "run" / "chips" / "hermes" / "result.packed"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    said = finish(words)
    assert "hermes: its result is damaged" in said
    assert "hermes: placing" in said
    assert "isaac: placing" not in said
    assert files_of(tmp_path / "run") == first
    refused = subprocess.run(
        [*words, "--set", "tile.adc.bits=6"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "the folder holds another run: chips.isaac.tile.adc.bits was 8 and is 6" in (
        refused.stderr
    )
    assert files_of(tmp_path / "run") == first


@pytest.mark.parametrize("words", [("info",), ("info", "--json"), ("verify",), ("clear",)])
def test_the_cache_command_answers(words: tuple[str, ...], tmp_path: Path) -> None:
    from cimsim.cache import Store

    store = Store(tmp_path / "cache")
    store.put("noisy", "ab" * 32, 1)
    done = subprocess.run(
        [sys.executable, "-m", "cimsim", "cache", *words],
        env={**os.environ, "CIMSIM_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    if words == ("info", "--json"):
        assert json.loads(done.stdout)["stages"]["noisy"]["entries"] == 1
    elif words == ("info",):
        assert "noisy" in done.stdout
    elif words == ("verify",):
        assert "1 entries are whole, 0 were damaged" in done.stdout
    else:
        assert "1 entries removed" in done.stdout
        assert store.get("noisy", "ab" * 32, ()) is None
