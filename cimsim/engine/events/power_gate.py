"""The power limit where nobody knows when a visit ends: visits wait in line (flit level)."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

__all__ = ["PowerGate"]

Job = TypeVar("Job")


class PowerGate(Generic[Job]):
    """Jobs that draw power, and those that wait for it, first come first served.

    Args:
        limit_nw: the chip's limit, 0 for none.
    """

    def __init__(self, limit_nw: int) -> None:
        self._limit, self._drawn = limit_nw, 0
        self.line: deque[tuple[Job, int]] = deque()

    def ask(self, job: Job, power_nw: int) -> bool:
        """Let a job draw power, or put it in line; return whether it may start."""
        if self._limit and (self.line or self._drawn + power_nw > self._limit):
            self.line.append((job, power_nw))
            return False
        self._drawn += power_nw
        return True

    def end(self, power_nw: int) -> list[Job]:
        """Note that a job draws power no more; return those that may start now, in order."""
        self._drawn -= power_nw
        started = []
        while self.line and self._drawn + self.line[0][1] <= self._limit:
            job, power = self.line.popleft()
            self._drawn += power
            started.append(job)
        return started
