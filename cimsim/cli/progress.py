"""Progress of a run on stderr: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from cimsim.api.chip_work import ChipWork
from cimsim.cli.summary import memory_line
from cimsim.stages.plan import RunPlan

PLAIN_SECONDS = 5.0
PRIOR_S = 15.0
"""How much work has to be done before its own pace counts for more than those seconds."""


class Progress:
    """Says which chip is at which stage, and when the run will be done.

    Stages take very unlike times, most of it calibrating: work is counted in the seconds that
    they usually take. The pace starts as that of an ordinary computer and becomes the run's own.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._memory = plan.memory_bytes
        self._work = {t.name: ChipWork(t) for t in plan.tasks}
        self._pace = 1.0 / min(plan.jobs * plan.threads, sum(w.seeds for w in self._work.values()))
        self._started: dict[str, float] = {}
        self._start = time.monotonic()
        self._last = 0.0
        self._live = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def stage(self, name: str, stage: str, fraction: float) -> None:
        """Report that a chip has begun a stage.

        Args:
            name: the chip.
            stage: what it does now.
            fraction: share of its work that is done.
        """
        now = time.monotonic()
        if not self._started and self._memory is not None:
            self.note(memory_line(self._memory))
        self._started.setdefault(name, now)
        self._work[name].begin(stage, fraction)
        line = f"{100 * self._share():3.0f}%  {name}: {stage}, about {self._left(now)} left"
        if self._live:
            sys.stderr.write(f"\r\x1b[K{line[:78]}")
            sys.stderr.flush()
        elif now - self._last >= PLAIN_SECONDS:
            self._last = now
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    def finished(self, name: str) -> None:
        """Report that a chip is done, with the seconds it took."""
        now = time.monotonic()
        self._work[name].end()
        spent = now - self._started.get(name, now)
        clear = "\r\x1b[K" if self._live else ""
        sys.stderr.write(f"{clear}{name}: {spent:.1f} s\n")
        sys.stderr.flush()

    def note(self, text: str) -> None:
        """Say something that the user should know, such as a warning."""
        clear = "\r\x1b[K" if self._live else ""
        sys.stderr.write(f"{clear}{text}\n")
        sys.stderr.flush()

    def _share(self) -> float:
        work = self._work.values()
        return sum(w.done for w in work) / sum(w.total for w in work)

    def _left(self, now: float) -> str:
        """Return the time that is left in words."""
        done = sum(w.done for w in self._work.values())
        rest = sum(w.total for w in self._work.values()) - done
        pace = (now - self._start + PRIOR_S * self._pace) / (done + PRIOR_S)
        seconds = pace * rest
        return f"{max(5, round(seconds, -1)):.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
