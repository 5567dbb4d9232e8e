"""What evaluating costs takes of a run's time.

A short run (the least work around the cost model: one chip seed, no calibration) is
profiled. Time spent in functions of `cimsim.cost`, and in what they call outside Python, is
compared with the whole. The profiler charges every Python call and no compiled code, so the
share is an upper bound. The first run after an installation also compiles kernels.
"""

from __future__ import annotations

import cProfile
import pstats
import time
from typing import Any

from cimsim.config.load import find_chip, load_chip
from cimsim.pipeline import run_chip
from cimsim.stages.models import read_text

__all__ = ["run_cost_bench"]

TARGET = 0.01
SHORT = ("run.chip_seeds=1", "calibration.method=identity")


def run_cost_bench(chip: str = "isaac", tokens: int = 512) -> dict[str, object]:
    """Return seconds of a run, seconds in the cost model, and their ratio.

    Args:
        chip: a chip file or the name of a bundled chip.
        tokens: scored and timed tokens.
    """
    config = load_chip(find_chip(chip), (*SHORT, f"workload.tokens={tokens}"))
    # Both in processor time: other programs on the machine do not count.
    profile = cProfile.Profile(time.process_time, builtins=False)
    started = time.process_time()
    profile.enable()
    run_chip(config, "olmoe-tiny", read_text(None))
    profile.disable()
    whole = time.process_time() - started
    spent = _seconds_in(profile, "/cimsim/cost/")
    return {
        "chip": config.name,
        "tokens": tokens,
        "run, processor seconds": round(whole, 2),
        "cost model, seconds": round(spent, 3),
        "share": round(spent / whole, 5),
        "target": f"under {TARGET:.0%}",
    }


def _seconds_in(profile: cProfile.Profile, folder: str) -> float:
    """Return the own time of functions whose file lies below a folder."""
    stats: dict[tuple[str, int, str], Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    return float(
        sum(row[2] for (file, _, _), row in stats.items() if folder in file.replace("\\", "/"))
    )
