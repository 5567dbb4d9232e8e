"""Progress of a run on stderr: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from cimsim.stages.plan import RunPlan

PLAIN_SECONDS = 5.0


class Progress:
    """Says which chip is at which stage, and when the run will be done.

    The estimate assumes that the rest goes as fast as what is done: chips differ, so it
    settles after the first one.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._names = [t.name for t in plan.tasks]
        self._done = dict.fromkeys(self._names, 0.0)
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
        self._done[name] = fraction
        total = sum(self._done.values()) / len(self._names)
        spent = now - self._start
        left = f", about {spent * (1 - total) / total:.0f} s left" if total > 0 else ""
        line = f"{100 * total:3.0f}%  {name}: {stage}{left}"
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
        self._done[name] = 1.0
        spent = now - self._started.get(name, now)
        clear = "\r\x1b[K" if self._live else ""
        sys.stderr.write(f"{clear}{name}: {spent:.1f} s\n")
        sys.stderr.flush()

    def note(self, text: str) -> None:
        """Say something that the user should know, such as a warning."""
        clear = "\r\x1b[K" if self._live else ""
        sys.stderr.write(f"{clear}{text}\n")
        sys.stderr.flush()
