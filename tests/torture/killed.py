"""A small run in processes of its own, that can be stopped at any moment in any way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cimsim.results.packed import DamagedError, unpack
from cimsim.results.run import CHIP_RECORDS
from tests import small_shape

CHIPS = ("sram_digital_28nm", "isaac", "hermes")
PROGRAM = (sys.executable, small_shape.__file__)


@dataclass(frozen=True)
class Stopped:
    """What a run that was stopped left.

    Attributes:
        code: exit code, negative for the number of a signal.
        said: all of stderr.
        left: ids of processes of its group that are alive five seconds later.
    """

    code: int
    said: str
    left: tuple[int, ...]


def small_run(folder: Path, model: Path, knobs: tuple[str, ...], jobs: int) -> list[str]:
    """Return the command of a run of three chips with a tiny model."""
    sets = [word for knob in knobs for word in ("--set", knob)]
    return [
        *(*PROGRAM, "run", *CHIPS, "--out", str(folder), "--model", str(model), *sets),
        *("--jobs", str(jobs), "--threads", "1", "--no-cache", "--check", "never"),
    ]


def stop(
    command: list[str], when: Callable[[float], bool], number: int, all_of_it: bool = False
) -> Stopped:
    """Start a command and send it a signal when `when` (seconds) says so.

    The signal goes to the parent process, or to all of them, as a terminal and `timeout` do it.
    """
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_foreground,  # noqa: PLW1509 - Popen comes before any thread
    ) as process:
        begun = time.monotonic()
        while process.poll() is None and not when(time.monotonic() - begun):
            time.sleep(0.01)
        if process.poll() is None:
            (os.killpg if all_of_it else os.kill)(process.pid, number)
        said = process.stderr.read() if number != signal.SIGKILL and process.stderr else ""
        code = process.wait(timeout=60)
        until = time.monotonic() + 5.0
        while (left := alive(process.pid)) and time.monotonic() < until:
            time.sleep(0.05)
        for orphan in left:
            os.kill(orphan, signal.SIGKILL)
        return Stopped(code, said, left)


def _foreground() -> None:
    """In the background a shell has an interrupt ignored, and `nohup` a hang-up."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def alive(session: int) -> tuple[int, ...]:
    """Return the processes of a session that are more than a zombie."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except (OSError, IndexError):
                continue
            if words[3] == str(session) and words[0] not in "ZX":
                found.append(int(entry.name))
    return tuple(found)


def faults(folder: Path) -> list[str]:
    """Return what is not whole in the folder of a run, whatever stopped it."""
    found = [str(p) for p in folder.rglob("*.tmp") if not p.name.startswith(".")]
    if not (folder / "manifest.json").exists():
        return found + [str(p) for p in folder.rglob("*") if p.is_file() and p.suffix != ".tmp"]
    manifest = json.loads((folder / "manifest.json").read_bytes())
    if manifest["complete"] and not (folder / "report.html").exists():
        found.append("complete without a report")
    for name in manifest["finished"]:
        place = folder / "chips" / name
        try:
            unpack((place / "result.packed").read_bytes(), CHIP_RECORDS)
        except (OSError, DamagedError) as error:
            found.append(f"{name} is said to be finished: {error}")
        if not (place / "results.csv").exists():
            found.append(f"{name} is said to be finished and has no table")
    cut = (p for p in folder.rglob("*.csv") if not p.read_bytes().endswith(b"\n"))
    return [*found, *(f"{path} is cut" for path in cut)]
