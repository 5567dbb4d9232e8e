"""What this machine lends to a process: cores, folders for caches, a GPU."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cimsim.rng import fill_bits

__all__ = ["Cores", "gpu_words", "kernel_folder", "quota_cores", "usable_cores"]

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


def usable_cores() -> Cores:
    """Return the cores that this process may use."""
    present = os.cpu_count() or 1
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    allowed = present if affinity is None else len(affinity(0))
    return Cores(present, allowed, quota_cores(CGROUPS))


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


def kernel_folder() -> Path | None:
    """Return where Numba keeps compiled kernels; None where it found no folder to write to."""
    cache = getattr(fill_bits, "_cache", None)
    path = getattr(cache, "cache_path", None)
    return None if path is None else Path(path)


def gpu_words() -> str:
    """Return which GPUs torch computes on, and whether Triton is there."""
    if find_spec("torch") is None:
        return "no torch, which GPUs need: pip install 'cimsim[torch]'"
    import torch  # noqa: PLC0415 - an extra, and two seconds

    if not torch.cuda.is_available():
        return "no GPU that torch computes on"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    triton = "with Triton" if find_spec("triton") is not None else "without Triton"
    return f"{', '.join(names)}, {triton}"
