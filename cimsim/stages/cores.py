"""How many processor cores this process may use: fewer than the machine has, in a container."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["usable_cores"]

QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(quota: Path = QUOTA) -> int:
    """Return the cores of this process's affinity, at most its control group's quota (v2)."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # an operating system without affinities
        cores = os.cpu_count() or 1
    try:
        most, period = quota.read_text(encoding="ascii").split()
        return max(1, min(cores, math.ceil(int(most) / int(period))))
    except (OSError, ValueError):  # no control group, or one without a limit ("max")
        return cores
