"""Packet-level network on chip: one reservation per packet and link, in integer picoseconds.

A packet of S flits holds each link of its route for S cycles. Its head waits until the
link is free, spends the router's pipeline in every router, and its tail follows S - 1 cycles
behind (cut-through). Without contention its latency is

    interface + (link) + R (router + link) + (S - 1) cycles,

with R routers on the route: 4 R + 2 + (S - 1) with the standard pipeline of 3 + 1 cycles
(Dally and Towles, Principles and Practices of Interconnection Networks, 2004, chapter 16).
Injection and ejection ports are links like the others, so they queue and serialise too.

`send` reserves the whole route at once, when the packet leaves; a packet sent later may use
a gap that an earlier one left open on a link ahead, and never delays it. Each link keeps its
latest `INTERVALS` busy intervals for that; older gaps are given up.

Not modelled here: virtual channels, finite buffers and switch-allocation losses. They matter
near saturation and for long packets; `validity` says how much, and whether a run stayed where
they do not; `flit` models them. The kernels take only arrays, so an event loop in Python and a
compiled one call the same code and get the same picoseconds. They allocate nothing and are
compiled without Numba's reference counts, which would cost most of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cimsim.chip.routes import LINKS, ROUTERS, Routes, link_end, next_link
from cimsim.chip.topology import Topology
from cimsim.engine.noc.kernel import kernel
from cimsim.errors import CimsimError

__all__ = ["NocTiming", "PacketState", "hold", "packet_state", "reserve", "send"]

INTERVALS = 8
# Columns of PacketState.reserved: number of intervals, end of what was given up, intervals.
COUNT, FLOOR, FIRST = 0, 1, 2
# Columns of PacketState.used.
BUSY_PS, FLITS, PACKETS, WAIT_PS = range(4)
# Entries of PacketState.config.
CYCLE_PS, ROUTER_PS, LINK_PS, INTERFACE_PS = range(4)

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NocTiming:
    """Clock, width and pipeline of a network on chip.

    Args:
        flit_bytes: width of a link; one flit per cycle.
        cycle_ps: period of the network's clock.
        router_cycles: pipeline of a router (VC allocation, switch allocation, traversal).
        link_cycles: time on a link.
        interface_cycles: time in the sending network interface.

    Raises:
        CimsimError: on a link of width 0, a clock of period 0 or a negative delay.
    """

    flit_bytes: int
    cycle_ps: int
    router_cycles: int = 3
    link_cycles: int = 1
    interface_cycles: int = 1

    def __post_init__(self) -> None:
        least = {"flit_bytes": 1, "cycle_ps": 1, "link_cycles": 1}
        for name in ("flit_bytes", "cycle_ps", "router_cycles", "link_cycles", "interface_cycles"):
            bound = least.get(name, 0)
            if getattr(self, name) < bound:
                raise CimsimError(
                    "a network quantity is too small",
                    key=f"noc.{name}",
                    value=getattr(self, name),
                    allowed=f"{bound} or more",
                )

    def flits(self, payload_bytes: int) -> int:
        """Return the flits of a packet: its payload in links' widths, at least one."""
        return max(1, -(-payload_bytes // self.flit_bytes))


class PacketState(NamedTuple):
    """State of a packet-level network, as arrays that the kernels change in place.

    Attributes:
        routes: of the topology.
        config: int64 vector, delays in ps.
        nodes: int64 (nodes,), router of every node.
        reserved: int64 (links, 2 + 2 INTERVALS), busy intervals of every link, sorted.
        used: int64 (links, 4), of every link: busy time in ps, flits, packets, and the
            time in ps that heads waited for it.
    """

    routes: Routes
    config: Int64
    nodes: Int64
    reserved: Int64
    used: Int64


def packet_state(shape: Topology, timing: NocTiming) -> PacketState:
    """Return the state of an idle network.

    Args:
        shape: routers, nodes and links.
        timing: clock, width and pipeline.
    """
    delays = np.array(
        [1, timing.router_cycles, timing.link_cycles, timing.interface_cycles], dtype=np.int64
    )
    return PacketState(
        routes=shape.routes,
        config=delays * timing.cycle_ps,
        nodes=shape.node_routers,
        reserved=np.zeros((shape.links, FIRST + 2 * INTERVALS), dtype=np.int64),
        used=np.zeros((shape.links, 4), dtype=np.int64),
    )


@kernel
def _insert(row: Int64, position: int, start: int, end: int) -> None:
    """Put the interval [start, end) into a link's row at `position`, joining neighbours."""
    count = row[COUNT]
    before = position > 0 and row[FIRST + 2 * position - 1] == start
    after = position < count and row[FIRST + 2 * position] == end
    if before and after:
        for k in range(FIRST + 2 * position - 1, FIRST + 2 * count - 2):
            row[k] = row[k + 2]
        row[COUNT] = count - 1
    elif before:
        row[FIRST + 2 * position - 1] = end
    elif after:
        row[FIRST + 2 * position] = start
    else:
        if count == INTERVALS:  # give up the gap before the oldest interval
            if position == 0:
                row[FLOOR] = end
                return
            row[FLOOR] = row[FIRST + 1]
            for k in range(FIRST, FIRST + 2 * count - 2):
                row[k] = row[k + 2]
            count -= 1
            position -= 1
        for k in range(FIRST + 2 * count - 1, FIRST + 2 * position - 1, -1):
            row[k + 2] = row[k]
        row[FIRST + 2 * position] = start
        row[FIRST + 2 * position + 1] = end
        row[COUNT] = count + 1


@kernel
def reserve(state: PacketState, link: int, ready_ps: int, flits: int) -> int:
    """Reserve a link for a packet and return when its head starts, in ps.

    Args:
        state: the network.
        link: link index (see `Topology.links`).
        ready_ps: when the head could start.
        flits: length of the packet.
    """
    return hold(state, link, ready_ps, flits, flits * state.config[CYCLE_PS])


@kernel
def hold(state: PacketState, link: int, ready_ps: int, flits: int, hold_ps: int) -> int:
    """Reserve a link for a given time and return when its head starts, in ps.

    Args:
        state: the network.
        link: link index (see `Topology.links`).
        ready_ps: when the head could start.
        flits: length of the packet, for the statistics.
        hold_ps: how long the link is busy.
    """
    row = state.reserved[link]
    start = max(ready_ps, row[FLOOR])
    count = row[COUNT]
    position = count
    while position > 0 and row[FIRST + 2 * position - 1] > start:
        position -= 1
    while position < count and row[FIRST + 2 * position] < start + hold_ps:
        start = row[FIRST + 2 * position + 1]
        position += 1
    _insert(row, position, start, start + hold_ps)
    used = state.used[link]
    used[BUSY_PS] += hold_ps
    used[FLITS] += flits
    used[PACKETS] += 1
    used[WAIT_PS] += start - ready_ps
    return int(start)


@kernel
def send(state: PacketState, now_ps: int, source: int, target: int, flits: int) -> int:
    """Send one packet and return when its tail reaches the target node, in ps.

    A packet to its own node goes through its router and both local ports.

    Args:
        state: the network, changed in place.
        now_ps: when the source hands the packet to its network interface.
        source: sending node.
        target: receiving node.
        flits: length of the packet, at least 1.
    """
    config, routes = state.config, state.routes
    base = routes.geometry[LINKS] * routes.geometry[ROUTERS]
    head = reserve(state, base + source, now_ps + config[INTERFACE_PS], flits) + config[LINK_PS]
    end = state.nodes[target]
    link = next_link(routes, state.nodes[source], end)
    while link >= 0:
        head = reserve(state, link, head + config[ROUTER_PS], flits) + config[LINK_PS]
        link = next_link(routes, link_end(routes, link), end)
    eject = base + state.nodes.size + target
    head = reserve(state, eject, head + config[ROUTER_PS], flits) + config[LINK_PS]
    return int(head + (flits - 1) * config[CYCLE_PS])
