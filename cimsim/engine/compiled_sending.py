"""Kernels that send the inputs of visits; twins of `ReferenceTiles._send`."""

from __future__ import annotations

from cimsim.engine import machine as m
from cimsim.engine.compiled_events import VISIT, push
from cimsim.engine.machine_ref import Machine
from cimsim.engine.network import set_tokens
from cimsim.engine.noc.kernel import ZERO, inner
from cimsim.engine.raw import NOC
from cimsim.engine.transport import scatter_trains, send_across

__all__ = ["add_targets", "arrive", "digital_port", "digital_unit", "move", "send_one"]


@inner
def add_targets(x: Machine, v: int, count: int) -> int:
    """Append the input tiles of a visit to the arguments of the next multicast."""
    site = x.site[x.pool[v, m.V_SITE]]
    for at in range(site[m.INS], site[m.INS_END]):
        x.ports[count] = x.ins[at]
        set_tokens(x.port_masks, count, x.masks[v])
        count += 1
    return count


@inner
def arrive(x: Machine, v: int, at: int, flits: int) -> int:
    """Schedule the arrival of a visit that was sent; return the next target's index."""
    visit, now_ps = x.pool[v], x.now[m.TIME]
    site = x.site[visit[m.V_SITE]]
    tiles = site[m.INS_END] - site[m.INS]
    tail = x.times[0, at]
    for k in range(1, tiles):
        tail = max(tail, x.times[0, at + k])
    visit[m.V_TAIL] = tail
    first = tail - (visit[m.V_SIZE] - 1) * flits * x.fixed[m.CYCLE]
    visit[m.V_PARTS + NOC] += first - now_ps
    push(x, first, VISIT, v)
    return int(at + tiles)


@inner
def digital_port(x: Machine, flight: int) -> int:
    """Return the port of a flight's digital unit."""
    return int(x.fixed[m.FIRST_DIGITAL] + digital_unit(x, flight, x.flight[flight, m.STEP]))


@inner
def digital_unit(x: Machine, flight: int, step: int) -> int:
    """Return the digital unit that serves a flight in a step."""
    stream = x.stream[x.flight[flight, m.STREAM]]
    return int(x.step[step, m.STEP_DIGITAL] + stream[m.S_DIGITAL])


@inner
def move(x: Machine, flight: int, step: int, ready_ps: int) -> int:
    """Move a flight's vectors to the next step's digital unit (`ReferenceTiles._move`)."""
    unit, after = digital_unit(x, flight, step), digital_unit(x, flight, step + 1)
    if unit == after:
        return int(ready_ps)
    size, flits = x.flight[flight, m.SIZE], x.step[step, m.OUT_FLITS]
    start = ready_ps - (size - 1) * flits * x.fixed[m.CYCLE]
    port = x.fixed[m.FIRST_DIGITAL]
    # Units of one stream differ only where chips do.
    return send_across(x.net, start, ready_ps, port + unit, port + after, flits, size)


@inner
def send_one(x: Machine, v: int) -> None:
    """Send the inputs of one visit that had to wait."""
    flight = x.pool[v, m.V_FLIGHT]
    flits = x.step[x.flight[flight, m.STEP], m.IN_FLITS]
    count = add_targets(x, v, ZERO)
    port = digital_port(x, flight)
    scatter_trains(x.net, x.now[m.TIME], port, x.ports, x.port_masks, count, flits, x.times[0])
    arrive(x, v, ZERO, flits)
