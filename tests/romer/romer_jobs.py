"""A stand-in for the study's worker, importable by the processes that run it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from romer.study.cache import Cache
from romer.study.jobs import THREAD_VARIABLES, Batch


@dataclass(frozen=True)
class Writer:
    """Writes a record that depends on the job alone; fails or dies where it is told to."""

    folder: Path
    fails: str = ""
    dies: str = ""

    def __call__(self, batch: Batch, until: float) -> int:
        """Do a batch."""
        assert all(os.environ[name] == "1" for name in THREAD_VARIABLES)
        for done, job in enumerate(batch.jobs):
            if time.monotonic() >= until:
                return done
            if job.name == self.fails:
                raise ValueError(job.name)
            if job.name == self.dies:
                os._exit(9)
            Cache(self.folder).put(job.name, {"value": job.chip})
        return len(batch.jobs)
