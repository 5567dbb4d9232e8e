"""Coupled mode: a model beside the SimPy loop computes its numbers as time passes.

It is told that a flight's digital job is done before the flight's tokens are sent anywhere, that
an expert is written before the visits that waited for it go, and what a visit is served at the
moment its ADC groups are reserved.
"""

from __future__ import annotations

from cimsim.engine.events.schedule import JOB_END, VISIT, WRITTEN
from cimsim.engine.events.tables import Tables
from cimsim.engine.numbers import Numbers
from cimsim.engine.visit import Visit

__all__ = ["tell_after", "tell_before", "visit_of"]


def visit_of(x: Tables, v: int) -> Visit:
    """Return a visit as the model sees it."""
    row = x.visit[v]
    return Visit(
        int(row["flight"]), int(row["site"]), int(row["expert"]), int(row["size"]), x.masks[v]
    )


def tell_before(numbers: Numbers, x: Tables, kind: int, argument: int) -> None:
    """Tell the model what an event means that is about to be handled."""
    if kind == JOB_END:
        numbers.stage(argument, int(x.flight[argument]["step"]))
    elif kind == WRITTEN:
        slot = x.slot[argument]
        numbers.written(argument, int(slot["holds"]), int(slot["end_ps"]))


def tell_after(numbers: Numbers, x: Tables, kind: int, argument: int) -> None:
    """Tell the model what followed from an event."""
    if kind == VISIT:  # its record is not used again before this event is over
        numbers.serve(visit_of(x, argument), int(x.visit[argument]["start_ps"]))
