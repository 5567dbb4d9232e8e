"""Inputs of visits go out; vectors move between digital units.

Inputs of visits that go together are one multicast, in which each token crosses a link once. At
the flit level inputs travel elsewhere: they stay in the outbox.
"""

from __future__ import annotations

from cimsim.engine.between_chips import send_between
from cimsim.engine.events.machine import Machine
from cimsim.engine.events.schedule import VISIT, push
from cimsim.engine.network import set_tokens
from cimsim.engine.noc.kernel import ZERO, inlined, inner
from cimsim.engine.raw import NOC
from cimsim.engine.transport import scatter_trains

__all__ = ["digital_port", "digital_unit", "enqueue", "move", "send", "send_one"]

NONE = -1


@inner
def digital_unit(x: Machine, flight: int, step: int) -> int:
    """Return the digital unit that serves a flight in a step."""
    return int(x.step[step].digital + x.stream[x.flight[flight].stream].digital)


@inner
def digital_port(x: Machine, flight: int) -> int:
    """Return the port of a flight's digital unit."""
    return int(x.fixed[0].first_digital + digital_unit(x, flight, x.flight[flight].step))


@inner
def move(x: Machine, flight: int, step: int, ready_ps: int) -> int:
    """Move a flight's vectors from a step to the next one's digital unit.

    Nothing moves while both are the same unit.

    Args:
        x: the tables.
        flight: which.
        step: the step that is done.
        ready_ps: when the last vector is at its digital unit.

    Returns:
        When the last vector is at the next step's digital unit.
    """
    unit, after = digital_unit(x, flight, step), digital_unit(x, flight, step + 1)
    if unit == after:
        return int(ready_ps)
    size, flits, port = x.flight[flight].size, x.step[step].out_flits, x.fixed[0].first_digital
    start = ready_ps - (size - 1) * flits * x.fixed[0].cycle_ps
    # Units of one stream differ only where chips do.
    return send_between(x.net, x.net.after, start, ready_ps, port + unit, port + after, flits, size)


@inner
def enqueue(x: Machine, v: int) -> None:
    """Put a visit into the outbox."""
    x.outbox[x.now[0].outgoing] = v
    x.now[0].outgoing += 1


@inlined
def send_one(x: Machine, v: int) -> None:
    """Send the inputs of one visit that had to wait."""
    enqueue(x, v)
    send(x, x.visit[v].flight)


@inner
def send(x: Machine, flight: int) -> None:
    """Multicast the inputs of the visits of one flight in the outbox."""
    now = x.now[0]
    if x.fixed[0].flit != 0:
        enqueue(x, NONE)
        return
    count, flits = ZERO, x.step[x.flight[flight].step].in_flits
    for k in range(now.outgoing):
        count = _add_targets(x, x.outbox[k], count)
    port = digital_port(x, flight)
    scatter_trains(
        x.net, now.time_ps, port, x.ports, x.port_masks, count, flits, x.times[0], x.times[1]
    )
    at = ZERO
    for k in range(now.outgoing):
        at = _arrive(x, x.outbox[k], at)
    now.outgoing = 0


@inlined
def _add_targets(x: Machine, v: int, count: int) -> int:
    """Append the input tiles of a visit to the arguments of the multicast."""
    site = x.site[x.visit[v].site]
    for at in range(site.ins, site.ins_end):
        x.ports[count] = x.ins[at]
        set_tokens(x.port_masks, count, x.masks[v])
        count += 1
    return count


@inlined
def _arrive(x: Machine, v: int, at: int) -> int:
    """Schedule the arrival of a visit that was sent; return the next target's index."""
    visit, now_ps = x.visit[v], x.now[0].time_ps
    site = x.site[visit.site]
    tiles = site.ins_end - site.ins
    first, tail = x.times[0, at], x.times[1, at]
    for k in range(1, tiles):
        first, tail = max(first, x.times[0, at + k]), max(tail, x.times[1, at + k])
    visit.tail_ps = tail
    x.visit_parts[v, NOC] += first - now_ps
    push(x, first, VISIT, v)
    return int(at + tiles)
