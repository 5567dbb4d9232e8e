"""The compiled scheduler: a heap of events inside one kernel, for scale."""

from __future__ import annotations

from cimsim.engine.events.first_tables import make_tables
from cimsim.engine.events.loop import advance
from cimsim.engine.events.machine import Machine
from cimsim.engine.events.outcome import outcome, scalar, waiting
from cimsim.engine.events.stall import Deadline, event_limit_error, stall_error
from cimsim.engine.plan import Plan
from cimsim.engine.raw import RawRun

__all__ = ["run_compiled"]

SLICE_EVENTS = 1_000_000
"""Events between two looks at the clock, which compiled code cannot see: about a second."""


def run_compiled(
    plan: Plan,
    *,
    record: bool = True,
    max_events: int | None = None,
    max_seconds: float | None = None,
) -> RawRun:
    """Run a plan in compiled code.

    Args:
        plan: what to run.
        record: whether to keep a log of visits, jobs and writes.
        max_events: give up after this many events.
        max_seconds: give up after this time.

    Raises:
        SimulationError: if the run stalls (the message says who waits for what) or exceeds
            a limit.
    """
    x = make_tables(plan, record=record, max_events=max_events)
    machine, deadline = Machine(x), Deadline(max_seconds)
    x.now["heaped"] = 1  # the start, a row of zeros
    while advance(machine, SLICE_EVENTS):
        if scalar(x, "failed") and max_events is not None:
            raise event_limit_error(max_events, scalar(x, "left"), scalar(x, "time_ps"))
        deadline.check(scalar(x, "left"), scalar(x, "time_ps"))
    if left := scalar(x, "left"):
        raise stall_error(waiting(plan, x), left, scalar(x, "time_ps"))
    return outcome(x)
