"""What a study's cache lacks, measured by an executor; each record is kept as it is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cimsim.sweeps.executor import Executor
from romer.study.cache import Cache
from romer.study.jobs import Measurement, StudyJob
from romer.study.worker import Setting

__all__ = ["Measuring"]

SAY_SECONDS = 5.0


@dataclass(frozen=True)
class Measuring:
    """Where a study measures and what it keeps.

    Attributes:
        executor: carries tasks out.
        cache: of finished records.
        setting: what all records share.
        until: seconds since the epoch after which nothing is begun.
        say: told what is under way.
    """

    executor: Executor
    cache: Cache
    setting: Setting
    until: float
    say: Callable[[str], None]

    def measure(self, jobs: Sequence[StudyJob], what: str) -> int:
        """Measure what the cache lacks; return how much is still missing."""
        wanted = {j.name: j for j in jobs if self.cache.get(j.name) is None}
        if not wanted:
            return 0
        self.say(f"{what}: {len(wanted)} measurements")
        start, said, done = time.monotonic(), 0.0, 0
        failed: list[Exception] = []
        tasks = [self._task(job) for job in wanted.values()]
        for finished in self.executor.submit(tasks, lambda *_: None):
            if finished.error is not None:  # one cell must not cost the others their time
                failed.append(finished.error)
            elif finished.result is not None:
                self.cache.put(finished.name, finished.result)
                done += 1
                now = time.monotonic()
                if now - said >= SAY_SECONDS or done == len(wanted):
                    said, ahead = now, (now - start) / done * (len(wanted) - done)
                    self.say(f"{what}: {done} of {len(wanted)}; about {ahead:.0f} s left")
        if failed:
            raise failed[0]
        return sum(self.cache.get(name) is None for name in wanted)

    def _task(self, job: StudyJob) -> Measurement:
        spent = self.cache.get(job.budget) if job.budget else None
        cells = int(spent["cells_rewritten"]) if spent else 0
        return Measurement(job.name, job, self.setting, cells, self.until)
