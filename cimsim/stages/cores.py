"""How many processor cores this process may use: fewer than the machine has, in a container."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cores", "machine_cores", "quota_cores", "usable_cores"]

CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Cores:
    """Cores of the machine, and what of them this process may use.

    Attributes:
        present: of the machine.
        allowed: that the process may be scheduled on (its affinity).
        quota: cores' worth of time that a container grants, or None without a limit.
    """

    present: int
    allowed: int
    quota: float | None

    @property
    def usable(self) -> float:
        """How many cores' worth of work the process gets."""
        return self.allowed if self.quota is None else min(self.allowed, self.quota)


def usable_cores(folder: Path = CGROUPS) -> int:
    """Return how many tasks at once the cores of this process serve, at least 1.

    Args:
        folder: of its control group.
    """
    return max(1, math.ceil(machine_cores(folder).usable))


def machine_cores(folder: Path = CGROUPS) -> Cores:
    """Return the cores of the machine and of this process.

    Args:
        folder: of its control group.
    """
    present = os.cpu_count() or 1
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    allowed = present if affinity is None else len(affinity(0))
    return Cores(present, allowed, quota_cores(folder))


def quota_cores(folder: Path) -> float | None:
    """Return how many cores' worth of time a control group grants, None without a limit.

    Args:
        folder: of the control group: ``cpu.max`` holds "QUOTA PERIOD" or "max PERIOD" (version 2),
            ``cpu/cpu.cfs_quota_us`` and ``cpu/cpu.cfs_period_us`` one number each (version 1,
            a negative quota is none).
    """
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = (
                (folder / "cpu" / f"cpu.cfs_{what}_us").read_text().strip()
                for what in ("quota", "period")
            )
        except OSError:
            return None
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return None
    return int(quota) / int(period)
