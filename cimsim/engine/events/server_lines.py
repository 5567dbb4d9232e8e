"""Servers that are taken together, in the order in which jobs ask.

A job takes several servers at once: it joins the line of each, starts when it is first in all
of them, and leaves all when it is done. Jobs join all their lines at one moment, so two of
them never wait for each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

__all__ = ["ServerLines"]


class Job(Protocol):
    """What stands in line."""

    @property
    def servers(self) -> list[int]:
        """Servers that it takes, each once."""


class ServerLines:
    """Lines of jobs before servers.

    Args:
        count: number of servers.
        begin: called with a job when it is first in all its lines.
    """

    def __init__(self, count: int, begin: Callable[[Job], None]) -> None:
        self.lines: list[deque[tuple[int, Job]]] = [deque() for _ in range(count)]
        self._begin = begin
        self._joined = 0

    def join(self, job: Job) -> None:
        """Put a job at the end of its lines; it may begin at once."""
        self._joined += 1
        for server in job.servers:
            self.lines[server].append((self._joined, job))
        if self._is_first(self._joined, job):
            self._begin(job)

    def leave(self, job: Job) -> None:
        """Take a job that is done off the front of its lines; others may begin."""
        heads: dict[int, Job] = {}
        for server in job.servers:
            self.lines[server].popleft()
            if self.lines[server]:
                number, following = self.lines[server][0]
                heads[number] = following
        for number in sorted(heads):
            if self._is_first(number, heads[number]):
                self._begin(heads[number])

    def behind(self) -> list[tuple[Job, int]]:
        """Return jobs that stand behind others, each once, with the server they wait for."""
        found: dict[int, tuple[Job, int]] = {}
        for server, line in enumerate(self.lines):
            for number, job in list(line)[1:]:
                found.setdefault(number, (job, server))
        return [found[number] for number in sorted(found)]

    def _is_first(self, number: int, job: Job) -> bool:
        return all(self.lines[server][0][0] == number for server in job.servers)
