"""A limit on the power of crossbars active at once.

A visit draws the power of its site (energy a vector over the initiation interval) from when
its first vector goes in until its last has been taken in. Where the sum would exceed the
limit, the visit starts later: at the first end of another visit after which there is room.
Visits that have a start reserved count from their reservation on, so the limit holds at
every moment, and earlier arrivals are never delayed by later ones.
"""

from __future__ import annotations

from cimsim.engine.events.machine import Machine
from cimsim.engine.noc.kernel import inlined

__all__ = ["draw", "power_start_ps"]


@inlined
def power_start_ps(x: Machine, chip: int, wanted_ps: int, power_nw: int) -> int:
    """Return when a visit may start under the power limit.

    Args:
        x: the tables.
        chip: where.
        wanted_ps: when it could start otherwise.
        power_nw: what it draws.
    """
    row, drawing, now = x.chip[chip], x.drawing[chip], x.now[0]
    done = 0
    while done < row.drawing and drawing[done].end_ps <= now.time_ps:
        done += 1
    row.drawing -= done
    drawn = 0
    for k in range(row.drawing):
        drawing[k] = drawing[k + done]
        drawn += drawing[k].power_nw
    start = wanted_ps
    for k in range(row.drawing):
        if drawing[k].end_ps > start and drawn + power_nw <= x.fixed[0].power_limit_nw:
            break
        drawn -= drawing[k].power_nw
        start = max(start, drawing[k].end_ps)
    now.power_stall_ps += start - wanted_ps
    return int(start)


@inlined
def draw(x: Machine, chip: int, end_ps: int, power_nw: int) -> None:
    """Note that a visit draws power until `end_ps`."""
    drawing, at = x.drawing[chip], x.chip[chip].drawing
    x.chip[chip].drawing += 1
    while at > 0 and drawing[at - 1].end_ps > end_ps:
        drawing[at] = drawing[at - 1]
        at -= 1
    drawing[at].end_ps, drawing[at].power_nw = end_ps, power_nw
