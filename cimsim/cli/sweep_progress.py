"""Progress of many points on stderr: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time

PLAIN_SECONDS = 5.0
LIVE_SECONDS = 0.2


class PointProgress:
    """Says how many points are done and how long the rest will take at that pace."""

    def __init__(self) -> None:
        self._stage, self._all, self._done = "", 0, 0
        self._begun = self._last = time.monotonic()
        self._part: dict[str, float] = {}
        self._live = sys.stderr.isatty()

    def begin(self, stage: str, points: int) -> None:
        """Hear that so many points begin a stage."""
        self._stage, self._all, self._done = stage, points, 0
        self._begun = time.monotonic()
        self._part.clear()
        if points:
            self._say(force=True)

    def stage(self, name: str, stage: str, fraction: float) -> None:
        """Hear how far a point is."""
        del stage
        self._part[name] = fraction
        self._say()

    def finished(self, name: str) -> None:
        """Hear that a point is done."""
        self._part.pop(name, None)
        self._done += 1
        self._say(force=self._done == self._all)

    def note(self, text: str) -> None:
        """Say something that the user should know."""
        self._write(text + "\n")

    def _say(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._last < (LIVE_SECONDS if self._live else PLAIN_SECONDS):
            return
        self._last = now
        done = self._done + sum(self._part.values())
        left = ""
        if 0 < done < self._all:
            left = f", about {(now - self._begun) * (self._all - done) / done:.0f} s left"
        line = f"{self._stage}: {self._done} of {self._all}{left}"
        self._write(line if self._live and self._done < self._all else line + "\n")

    def _write(self, text: str) -> None:
        sys.stderr.write(("\r\x1b[K" if self._live else "") + text)
        sys.stderr.flush()
