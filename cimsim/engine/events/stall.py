"""Naming who waits for what when a run cannot go on."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from cimsim.errors import SimulationError

__all__ = [
    "CHECK_EVENTS",
    "Deadline",
    "Waiting",
    "event_limit_error",
    "stall_error",
    "time_limit_error",
]

SHOWN = 5
CHECK_EVENTS = 1 << 14
"""Events between two looks at the clock: a few hundredths of a second."""


@dataclass(frozen=True)
class Waiting:
    """Something that waits when no event is left.

    Attributes:
        who: the waiter, e.g. ``flight 3 (layer 2 attention o)``.
        what: what it waits for, e.g. ``room in the buffer of tile 7``.
    """

    who: str
    what: str

    def __str__(self) -> str:
        return f"{self.who} waits for {self.what}"


def stall_error(waiting: list[Waiting], left: int, time_ps: int) -> SimulationError:
    """Return the error of a run that ran out of events before it was drained.

    Args:
        waiting: everything that waits, in a fixed order.
        left: flights that are not complete.
        time_ps: time of the last event.
    """
    shown = "; ".join(str(w) for w in waiting[:SHOWN])
    more = f"; and {len(waiting) - SHOWN} more" if len(waiting) > SHOWN else ""
    return SimulationError(
        f"the simulation stalled at {time_ps} ps with {left} flights unfinished: {shown}{more}"
    )


def event_limit_error(limit: int, left: int, time_ps: int) -> SimulationError:
    """Return the error of a run that reached its limit of events."""
    return SimulationError(
        f"the simulation reached its limit of {limit} events at {time_ps} ps "
        f"with {left} flights unfinished"
    )


def time_limit_error(limit_s: float, left: int, time_ps: int) -> SimulationError:
    """Return the error of a run that took too long."""
    return SimulationError(
        f"the simulation reached its limit of {limit_s:g} s at {time_ps} ps of simulated time "
        f"with {left} flights unfinished"
    )


class Deadline:
    """A limit on the time that a run may take; it decides whether there is a result, never which.

    Args:
        seconds: from now on, or None for no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._end = None if seconds is None else monotonic() + seconds

    def check(self, left: int, time_ps: int) -> None:
        """Raise if the time is over.

        Args:
            left: flights unfinished.
            time_ps: simulated time.
        """
        if self._end is not None and self.seconds is not None and monotonic() > self._end:
            raise time_limit_error(self.seconds, left, time_ps)
