"""Memory of a run: the processes of `cimsim run`, watched from outside while they work.

RSS counts a page that processes share once in each of them, PSS divides it among them; the
sum of PSS is what the machine has to hold. Linux only: /proc/PID/smaps_rollup is read twice
a second. The first run after an installation compiles kernels and takes about 250 MB more a
worker: measure the second.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from cimsim.errors import CimsimError

__all__ = ["run_memory_bench", "watch"]

TARGET_MB = 2000
EVERY_S = 0.5
KB_PER_MB = 1024


def run_memory_bench(chips: Sequence[str]) -> dict[str, object]:
    """Return peak memory of a run of some chips, all processes together.

    Args:
        chips: chip files or names of bundled chips.

    Raises:
        CimsimError: if the system is not Linux, or the run fails.
    """
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "cimsim", "run", *chips, "--out", f"{folder}/run"]
        found = watch(command)
    return {"chips": ", ".join(chips), **found, "target": f"RSS under {TARGET_MB} MB"}


def watch(command: Sequence[str]) -> dict[str, object]:
    """Run a command and return the peaks of its process tree in MB.

    Args:
        command: program and arguments.

    Raises:
        CimsimError: if memory cannot be read, or the command fails.
    """
    if not Path("/proc/self/smaps_rollup").exists():
        raise CimsimError("memory is read from /proc, which this system does not have")
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet)  # noqa: S603 - our own
    peak: tuple[float, float, list[float]] = (0.0, 0.0, [])
    pss_peak = 0.0
    while process.poll() is None:
        each = [_memory_mb(pid) for pid in _tree(process.pid)]
        rss, pss = sum(r for r, _ in each), sum(p for _, p in each)
        peak = max(peak, (rss, pss, [r for r, _ in each]))
        pss_peak = max(pss_peak, pss)
        time.sleep(EVERY_S)
    if process.returncode:
        raise CimsimError("the command failed", value=" ".join(command))
    return {
        "peak RSS, MB": round(peak[0]),
        "peak PSS, MB": round(pss_peak),
        "RSS of each process at the peak, MB": [round(r) for r in peak[2]],
    }


def _tree(pid: int) -> list[int]:
    """Return a process and all below it, as far as they are still there."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [p for child in children.read_text().split() for p in _tree(int(child))]
        except OSError:
            continue
    return found


def _memory_mb(pid: int) -> tuple[float, float]:
    """Return RSS and PSS of a process; zeros if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    kb = {line.split()[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
    return kb.get("Rss:", 0) / KB_PER_MB, kb.get("Pss:", 0) / KB_PER_MB
