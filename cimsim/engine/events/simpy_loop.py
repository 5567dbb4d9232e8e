"""The SimPy scheduler: the same kernels under a SimPy clock, in integer picoseconds.

SimPy orders events of equal priority by time, then by order of scheduling, as the heap of the
compiled scheduler does. Between two events Python has its turn: a model that computes its numbers
as time passes is called there (`coupled`). A run ends on one explicit event: the last flight is
complete.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import simpy

from cimsim.engine.events.coupled import tell_after, tell_before
from cimsim.engine.events.first_tables import make_tables
from cimsim.engine.events.loop import advance
from cimsim.engine.events.machine import Machine
from cimsim.engine.events.outcome import outcome, scalar, waiting
from cimsim.engine.events.schedule import KINDS, START
from cimsim.engine.events.stall import (
    CHECK_EVENTS,
    Deadline,
    Waiting,
    event_limit_error,
    stall_error,
)
from cimsim.engine.numbers import Numbers
from cimsim.engine.plan import Plan
from cimsim.engine.raw import RawRun

__all__ = ["SimpyLoop", "SimpyRun", "run_simpy"]


def run_simpy(
    plan: Plan,
    *,
    record: bool = True,
    max_events: int | None = None,
    max_seconds: float | None = None,
    numbers: Numbers | None = None,
) -> RawRun:
    """Run a plan in SimPy.

    Args:
        plan: what to run.
        record: whether to keep a log of visits, jobs and writes.
        max_events: give up after this many events.
        max_seconds: give up after this time.
        numbers: the model, where numbers depend on time (coupled mode).

    Raises:
        SimulationError: if the run stalls (the message says who waits for what) or exceeds
            a limit.
    """
    return SimpyLoop(plan, SimpyRun(record, max_events, max_seconds, numbers)).run()


@dataclass(frozen=True)
class SimpyRun:
    """How a plan is run; the fields are the arguments of `run_simpy`."""

    record: bool = True
    max_events: int | None = None
    max_seconds: float | None = None
    numbers: Numbers | None = None


class SimpyLoop:
    """One run of a plan; use `run_simpy`."""

    def __init__(self, plan: Plan, how: SimpyRun, *, flit: bool = False) -> None:
        self.plan, self.how = plan, how
        self.tables = make_tables(plan, record=how.record, max_events=how.max_events, flit=flit)
        self.machine = Machine(self.tables)
        self.env: Any = simpy.Environment(initial_time=0)  # its time is an int here
        self.drained = self.env.event()
        self.now, self._heap = self.tables.now[0], self.tables.heap
        self.deadline = Deadline(how.max_seconds)
        self._handled = 0

    @property
    def left(self) -> int:
        """Flights that are not complete."""
        return scalar(self.tables, "left")

    def run(self) -> RawRun:
        """Run until drained."""
        self.act(START)
        self._drive()
        return self._outcome()

    def _drive(self) -> None:
        """Process events until the run is drained."""
        try:
            self.env.run(until=self.drained)
        except RuntimeError as error:
            if self.left == 0 or self.env.peek() != float("inf"):
                raise
            raise self._stall_error() from error

    def _stall_error(self) -> Exception:
        return stall_error(self.waiting(), self.left, self.env.now)

    def waiting(self) -> list[Waiting]:
        """Return everything that waits, for the message of a stall."""
        return waiting(self.plan, self.tables)

    def _outcome(self) -> RawRun:
        return outcome(self.tables)

    def on_event(self, event: Any) -> None:
        """Handle an event of the tables."""
        argument, kind = divmod(event.value, KINDS)
        numbers = self.how.numbers
        if numbers is None:
            self.act(kind, argument)
        else:
            tell_before(numbers, self.tables, kind, argument)
            self.act(kind, argument)
            tell_after(numbers, self.tables, kind, argument)

    def act(self, kind: int, argument: int = 0) -> None:
        """Let the kernels handle one event now, and schedule what follows from it."""
        now_ps = self.env.now
        self._heap[0] = now_ps, 0, argument * KINDS + kind
        self.now["heaped"] = 1
        pushed = advance(self.machine, 1)
        self.now["heaped"] = 0
        rows = self._heap[:pushed].tolist()
        if pushed > 1:
            rows.sort(key=itemgetter(1))
        for time_ps, _, what in rows:
            self.env.timeout(time_ps - now_ps, what).callbacks.append(self.on_event)
        self._check()
        if not self.now["left"] and not self.drained.triggered:
            self.drained.succeed()

    def at(self, time_ps: int, handler: Callable[[Any], None], value: object) -> None:
        """Call `handler` at a time, after everything already scheduled for that time."""
        self.now["events"] += 1
        if self.how.max_events is not None and self.now["events"] > self.how.max_events:
            self.now["failed"] = 1
        self._check()
        self.env.timeout(time_ps - self.env.now, value).callbacks.append(handler)

    def _check(self) -> None:
        """Raise if the run exceeds a limit."""
        if self.now["failed"]:
            raise event_limit_error(self.how.max_events or 0, self.left, self.env.now)
        self._handled += 1
        if self._handled % CHECK_EVENTS == 0:
            self.deadline.check(self.left, self.env.now)
