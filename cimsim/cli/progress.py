"""Progress of a run on stderr: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from cimsim.stages.plan import ChipTask, RunPlan

PLAIN_SECONDS = 5.0
PER_CHIP = {"placing": 3.0, "converter ranges": 1.0, "ideal integers": 1.5, "events": 3.0,
            "full-size model": 4.0}  # fmt: skip
PER_SEED = {"programming": 1.5, "scoring": 2.0, "calibrating": 14.0, "scoring calibrated": 2.0}
"""Seconds of a stage on one core of an ordinary computer with the bundled models."""
PRIOR_S = 15.0
"""How much work has to be done before its own pace counts for more than those seconds."""


class Progress:
    """Says which chip is at which stage, and when the run will be done.

    Stages take very unlike times, most of it calibrating: work is counted in the seconds that
    they usually take. The pace starts as that of an ordinary computer and becomes the run's own.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._work = {t.name: _Work(t) for t in plan.tasks}
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


class _Work:
    """The work of one chip in usual seconds: of all its stages, and of those that are over."""

    def __init__(self, task: ChipTask) -> None:
        self.seeds = task.config.run.chip_seeds
        per_seed = dict(PER_SEED)
        if task.config.calibration.method == "identity":
            del per_seed["calibrating"], per_seed["scoring calibrated"]
        self._seed_stages = per_seed
        self.total = sum(PER_CHIP.values()) + self.seeds * sum(per_seed.values())
        self.done = 0.0
        self._over: dict[str, float] = {}

    def begin(self, stage: str, fraction: float) -> None:
        """Count what comes before a stage; work never goes back."""
        kind, _, chip = stage.partition(", chip ")
        table = self._seed_stages if chip else PER_CHIP
        if kind in table:
            before = _before(table, kind)
            self._over[chip] = max(before, self._over.get(chip, 0.0))
            done = sum(self._over.values())
            if kind in {"events", "full-size model"}:
                # Every seed is through.
                done = before + self.total - sum(PER_CHIP.values())
        else:  # stages of runs whose numbers and time are coupled
            done = fraction * self.total
        self.done = min(self.total, max(self.done, done))

    def end(self) -> None:
        """Count everything."""
        self.done = self.total


def _before(table: dict[str, float], kind: str) -> float:
    """Return the seconds of the stages before one."""
    names = list(table)
    return sum(table[name] for name in names[: names.index(kind)])
