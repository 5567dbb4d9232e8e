"""What the stage cache is worth: a sweep against separate runs, with two links more, and again.

27 points of an ISAAC-like tile (3 ADC resolutions x 3 row counts x 3 ADC counts), 3 chip seeds,
1,024 tokens. Whole commands are measured, with a cache of their own that begins empty. Separate
runs are three of the 27, one for each row count, without a cache; their mean stands for all.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from cimsim.bench.chip_alone import children_s

__all__ = ["run_cached_bench"]

ROWS = (64, 128, 256)
SETTINGS = {"workload.tokens": "1024", "run.chip_seeds": "3"}
GRID = {
    "tile.adc.bits": "6,7,8",
    "tile.crossbar.rows": ",".join(map(str, ROWS)),
    "tile.adc.per_pe": "2,4,8",
}
FLITS = "64,128"  # the chip has 32
POINTS = 27


def run_cached_bench() -> dict[str, object]:
    """Return CPU time of the sweep and of what follows, over that of separate runs."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        run_s = sum(_separate(folder, rows) for rows in ROWS) / len(ROWS)
        grid_s, _ = _sweep(folder, "grid", GRID)
        again_s, again_wall_s = _sweep(folder, "again", GRID)
        flits_s, _ = _sweep(folder, "flits", {**GRID, "noc.flit_bits": FLITS})
    return {
        "points": POINTS,
        "run_without_cache_cpu_s": run_s,
        "sweep_cpu_over_separate_runs": grid_s / (POINTS * run_s),
        "point_of_other_flits_over_a_run": flits_s / (2 * POINTS * run_s),
        "same_sweep_again_cpu_s": again_s,
        "same_sweep_again_wall_s": again_wall_s,
    }


def _separate(folder: Path, rows: int) -> float:
    """Return the CPU time of one point as a run of its own."""
    knobs = {**SETTINGS, "tile.adc.bits": "7", "tile.crossbar.rows": str(rows)}
    words = ["run", "isaac", "--no-cache", "--out", str(folder / f"run{rows}")]
    words += [w for key, value in knobs.items() for w in ("--set", f"{key}={value}")]
    return _measure(words, folder)[0]


def _sweep(folder: Path, name: str, axes: Mapping[str, str]) -> tuple[float, float]:
    """Return CPU and wall time of a sweep."""
    words = ["sweep", "isaac", "--out", str(folder / name)]
    words += [w for key, values in axes.items() for w in ("--axis", f"{key}={values}")]
    words += [w for key, value in SETTINGS.items() for w in ("--set", f"{key}={value}")]
    return _measure(words, folder)


def _measure(words: Sequence[str], folder: Path) -> tuple[float, float]:
    """Return CPU and wall time of one command with all its processes."""
    environment = {**os.environ, "CIMSIM_CACHE_DIR": str(folder / "cache")}
    before, started = children_s(), time.monotonic()
    command = [sys.executable, "-m", "cimsim", *words]
    subprocess.run(command, env=environment, check=True, capture_output=True)  # noqa: S603 - ours
    return children_s() - before, time.monotonic() - started
