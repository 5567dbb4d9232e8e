"""Packet-level network on chip: one reservation per packet and link, in integer picoseconds.

A packet of S flits holds each link of its route for S cycles. Its head waits until the
link is free, spends the router's pipeline in every router, and its tail follows S - 1 cycles
behind (cut-through). Without contention its latency is

    interface + (link) + R (router + link) + (S - 1) cycles,

with R routers on the route: 4 R + 2 + (S - 1) with the standard pipeline of 3 + 1 cycles
(Dally and Towles, Principles and Practices of Interconnection Networks, 2004, chapter 16).
Injection and ejection ports are links like the others, so they queue and serialise too.

What a link has sent waits in a buffer of B flits for the next one. A packet that starts on link k
of its way (0 is its sender's) at t fills k buffers while it waits, so that its tail leaves the
sender at t + S - k (B - `CREDIT_CYCLES`) at the earliest, and the sender's next packet after it
(flow control by credits, the same book, section 13.3). B is all virtual channels of a port: a
sender's packets take them in turn. Links between routers are not held for who waits: other
virtual channels pass.

`send` reserves the whole route at once, when the packet leaves; a packet sent later may use
a gap that an earlier one left open on a link ahead, and never delays it. Each link keeps its
latest busy intervals for that, `count_intervals` of them; older gaps are given up.

Not modelled here: an arbiter that serves its inputs in turn (here whoever was sent first is served
first), and switch-allocation losses. They matter where links are busy; `validity` says how much,
and whether a run stayed where they do not; `flit` models them. The kernels take only arrays, so
an event loop in Python and a compiled one call the same code and get the same picoseconds. They
allocate nothing and are compiled without Numba's reference counts, which would cost most of the
time.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cimsim.chip.routes import LINKS, ROUTERS, Routes, fill_way, longest_way
from cimsim.chip.topology import Topology
from cimsim.engine.noc.kernel import inlined, kernel
from cimsim.errors import CimsimError

__all__ = [
    "NocTiming", "PacketState", "count_intervals", "hold", "packet_state", "release", "reserve",
    "send", "travel",
]  # fmt: skip

FLIGHT_INTERVALS, ALL_INTERVALS = 8, 1 << 22
CREDIT_CYCLES = 3
"""From a flit's leaving a buffer to the sender's using its credit (`flit_state.DELAYS`)."""
# Columns of PacketState.reserved: number of intervals, end of what was given up, intervals.
COUNT, FLOOR, FIRST = 0, 1, 2
# Columns of PacketState.used.
BUSY_PS, FLITS, PACKETS, WAIT_PS = range(4)
# Entries of PacketState.config.
CYCLE_PS, ROUTER_PS, LINK_PS, INTERFACE_PS, ROOM_PS = range(5)

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
        buffer_flits: flits that wait behind a link, in all virtual channels of a packet's class.

    Raises:
        CimsimError: on a link of width 0, a clock of period 0, a negative delay or no buffer.
    """

    flit_bytes: int
    cycle_ps: int
    router_cycles: int = 3
    link_cycles: int = 1
    interface_cycles: int = 1
    buffer_flits: int = 32

    def __post_init__(self) -> None:
        least = {"router_cycles": 0, "interface_cycles": 0}
        for name in (field.name for field in fields(self)):
            bound = least.get(name, 1)
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
        reserved: int64 (links, 2 + 2 intervals), busy intervals of every link, sorted.
        used: int64 (links, 4), of every link: busy time in ps, flits, packets, and the
            time in ps that heads waited for it.
        way: int64 (longest way and a port), links of the way at hand.
    """

    routes: Routes
    config: Int64
    nodes: Int64
    reserved: Int64
    used: Int64
    way: Int64


def count_intervals(links: int, vectors: int) -> int:
    """Return how many busy intervals each link keeps.

    They are those of eight flights, as far as all of them fit into 64 MB, and eight at least.

    Args:
        links: of the network.
        vectors: of the largest flight, which are sent one after another.
    """
    return max(FLIGHT_INTERVALS, min(FLIGHT_INTERVALS * vectors, ALL_INTERVALS // links))


def packet_state(
    shape: Topology, timing: NocTiming, *, links: int | None = None, vectors: int = 1
) -> PacketState:
    """Return the state of an idle network.

    Args:
        shape: routers, nodes and links.
        timing: clock, width and pipeline.
        links: how many links there are, if they are not those of the shape.
        vectors: most vectors that are sent one after another.
    """
    count = shape.links if links is None else links
    room = timing.buffer_flits - CREDIT_CYCLES
    cycles = (1, timing.router_cycles, timing.link_cycles, timing.interface_cycles, room)
    return PacketState(
        routes=shape.routes,
        config=np.array(cycles, dtype=np.int64) * timing.cycle_ps,
        nodes=shape.node_routers,
        reserved=np.zeros((count, FIRST + 2 * count_intervals(count, vectors)), dtype=np.int64),
        used=np.zeros((count, 4), dtype=np.int64),
        way=np.zeros(longest_way(shape.routes) + 1, dtype=np.int64),
    )


@inlined
def _first_after(row: Int64, time_ps: int) -> int:
    """Return the first interval of a link that ends after a time: nearly always a late one."""
    after = row[COUNT]
    before, step = after - 1, 1
    while before >= 0 and row[FIRST + 2 * before + 1] > time_ps:
        after, step = before, 2 * step
        before -= step
    before = max(before, -1)
    while after - before > 1:
        middle = (before + after) // 2
        if row[FIRST + 2 * middle + 1] > time_ps:
            after = middle
        else:
            before = middle
    return int(after)


@inlined
def _remove(row: Int64, position: int, count: int) -> None:
    """Take intervals out of a link's row."""
    for k in range(FIRST + 2 * position, FIRST + 2 * (row[COUNT] - count)):
        row[k] = row[k + 2 * count]
    row[COUNT] -= count


@kernel
def _insert(row: Int64, position: int, start: int, end: int) -> None:
    """Put the interval [start, end) into a link's row at `position`, joining neighbours."""
    count = row[COUNT]
    before = position > 0 and row[FIRST + 2 * position - 1] == start
    after = position < count and row[FIRST + 2 * position] == end
    if before and after:
        row[FIRST + 2 * position - 1] = row[FIRST + 2 * position + 1]
        _remove(row, position, 1)
    elif before:
        row[FIRST + 2 * position - 1] = end
    elif after:
        row[FIRST + 2 * position] = start
    else:
        if 2 * count == row.size - FIRST:  # give up the gaps before the older half
            old = count // 2
            row[FLOOR] = row[FIRST + 2 * old - 1]
            _remove(row, 0, old)
            count, position = count - old, position - old
            if position < 0:
                row[FLOOR] = max(row[FLOOR], end)
                return
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
    count, last = row[COUNT], FIRST + 2 * row[COUNT] - 1
    if row[last] <= start and last + 2 < row.size:  # nobody later: nearly always
        if count > 0 and row[last] == start:
            row[last] = start + hold_ps
        else:
            row[last + 1], row[last + 2] = start, start + hold_ps
            row[COUNT] = count + 1
    else:
        position = _first_after(row, start)
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
def release(state: PacketState, link: int, end_ps: int, until_ps: int) -> None:
    """Hold a link for a packet until it has room behind it, or until somebody else has the link.

    Args:
        state: the network.
        link: link index.
        end_ps: when the packet's flits would have passed the link without a stop.
        until_ps: when the last one does.
    """
    row = state.reserved[link]
    if until_ps <= end_ps:
        return
    last = FIRST + 2 * row[COUNT] - 1
    if row[last] == end_ps:
        row[last] = until_ps
        return
    position = _first_after(row, end_ps - 1)
    if position < row[COUNT] and row[FIRST + 2 * position + 1] == end_ps:
        if row[FIRST + 2 * position + 2] <= until_ps:
            row[FIRST + 2 * position + 1] = row[FIRST + 2 * position + 3]
            _remove(row, position + 1, 1)
        else:
            row[FIRST + 2 * position + 1] = until_ps


@kernel
def travel(
    state: PacketState, inject: int, way: Int64, links: int, ready_ps: int, flits: int
) -> int:
    """Send one packet over some links and return when its tail is at their end, in ps.

    Args:
        state: the network, changed in place.
        inject: link out of the sender's network interface.
        way: [>= links], the links behind it.
        links: how many.
        ready_ps: when the source hands the packet to its network interface.
        flits: length of the packet, at least 1.
    """
    config = state.config
    hop_ps, span = config[LINK_PS] + config[ROUTER_PS], flits * config[CYCLE_PS]
    first = start = held = reserve(state, inject, ready_ps + config[INTERFACE_PS], flits)
    room_ps = config[ROOM_PS]
    for k in range(links):
        start = reserve(state, way[k], start + hop_ps, flits)
        held = max(held, start - (k + 1) * room_ps)
    if held > first:
        release(state, inject, first + span, held + span)
    return int(start + span - config[CYCLE_PS] + config[LINK_PS])


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
    routes, way = state.routes, state.way
    base = routes.geometry[LINKS] * routes.geometry[ROUTERS]
    hops = fill_way(routes, state.nodes[source], state.nodes[target], way)
    way[hops] = base + state.nodes.size + target
    return travel(state, base + source, way, hops + 1, now_ps, flits)
