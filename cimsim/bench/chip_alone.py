"""Time, energy and area alone: CPU a point, memory, and what a second process is worth.

Whole commands are measured, `cimsim sweep` with all that it reads, writes and draws, on variants of
an ISAAC-like tile at the shape of OLMoE-1B-7B.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from cimsim.bench.memory import watch

__all__ = ["children_s", "run_alone_bench"]

PLAN = """
sweep: 1
chips: [isaac]
accuracy: off
axes:
  tile.adc.bits: [5, 6, 7, 8]
  tile.adc.per_pe: [2, 4, 8]
  tile.crossbar.rows: [128, 256]
  noc.flit_bits: [32, 64, 128]
  memory.channel_gb_per_s: {low: 12.8, high: 400, log: true}
  memory.channels: {low: 2, high: 16}
"""


def run_alone_bench(points: int) -> dict[str, object]:
    """Return figures of a sweep without scoring.

    Args:
        points: how many, with two processes; as many again with one give the speed-up.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "alone.yaml"
        path.write_text(f"{PLAN}sample: {{method: sobol, points: {points}}}\n")
        two = _measure(path, Path(folder) / "two", jobs=2)
        one = _measure(path, Path(folder) / "one", jobs=1)
    return {
        "points": points,
        "cpu_s_per_point": two["cpu_s"] / points,
        "peak_rss_mb": two["rss_mb"],
        "speed_of_two_processes_over_one": one["wall_s"] / two["wall_s"],
    }


def _measure(plan: Path, out: Path, *, jobs: int) -> dict[str, float]:
    """Return CPU and wall time and peak memory of one command, with all its processes."""
    before, started = children_s(), time.monotonic()
    command = [sys.executable, "-m", "cimsim", "sweep", str(plan), "--out", str(out)]
    found = watch([*command, "--jobs", str(jobs)])
    return {
        "wall_s": time.monotonic() - started,
        "cpu_s": children_s() - before,
        "rss_mb": float(str(found["peak RSS, MB"])),
    }


def children_s() -> float:
    """Return the CPU time of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
