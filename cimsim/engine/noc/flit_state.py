"""State of the flit-level router network: settings, arrays and their fields.

The router is the input-queued one of Dally and Towles (2004), chapters 16 to 19, with the
parameters that BookSim2 (Jiang et al., ISPASS 2013) calls routing_delay 0, vc_alloc_delay 1,
sw_alloc_delay 1, st_final_delay 1, credit_delay 1, one-cycle links, no speedup, no
speculation, wait_for_tail_credit 0 and islip allocators with one iteration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cimsim.engine.noc.shape import NocShape, neighbour, node_port, node_router
from cimsim.engine.noc.traffic import Traffic
from cimsim.errors import CimsimError

__all__ = ["FlitSettings", "FlitState", "flit_state"]

Int64 = npt.NDArray[np.int64]

# Cycles from one stage to the next. A flit that wins the switch in cycle t crosses it in
# t + 1, is on the link in t + 2 and in the next input buffer (or node) in t + 3. The credit
# of the slot that it leaves is on the link in t + 1, arrives in t + 2 and, in a router,
# counts one cycle (credit_delay) later. A node puts a flit on its link in t + 1.
HOP, CREDIT_TO_ROUTER, CREDIT_TO_NODE, INJECT = 3, 3, 2, 2
BUCKETS = 4  # more than the longest of these delays

# Columns of FlitState.vcs (input virtual channels).
(
    PHASE,
    OUT,  # row of the output channel that the packet holds
    OUT_PORT,
    LOW,  # rows of the output channels that it may use: LOW to HIGH - 1
    HIGH,
    FRONT,
    COUNT,
    VA_ACCEPT,
    RANK,  # place in a list of FlitState.members
    HOME,  # the router, the port and the channel of the row, fixed
    IN_PORT,
    IN_VC,
    UPSTREAM,  # row of the output channel, or of the node's channel, that feeds this one
) = range(13)
IDLE, WAITING, ACTIVE = range(3)
# Columns of FlitState.outs (output virtual channels).
IN_USE, CREDITS, VA_GRANT, BEYOND = range(4)  # BEYOND: the row that this channel feeds
# Columns of FlitState.ports.
SA_VC, SA_ACCEPT, SA_GRANT = range(3)
# Lists of FlitState.members: rows that wait for an output channel, that have a flit to send.
FOR_VC, FOR_SWITCH = range(2)
# Fields of FlitState.packets.
SOURCE, TARGET, CREATED, HOPS, MEASURED = range(5)
# Fields of FlitState.nodes.
NEXT_TRIAL, PACKET, FLITS_SENT, VC, LAST_VC, ROUTER, PORT, ENTRY = range(8)
# Kinds of arrivals: flits into routers, flits into nodes, credits to each.
TO_ROUTER, TO_NODE, ROUTER_CREDIT, NODE_CREDIT = range(4)
# Fields of FlitState.totals.
(
    TIME,
    FREE,
    LAST_MOVE,
    MEASURE_FROM,
    MEASURE_TO,
    CREATED_PACKETS,
    DONE_PACKETS,
    LATENCY_SUM,
    HOPS_SUM,
    EJECTED_FLITS,
    INJECTED_FLITS,
    LOGGED,
) = range(12)
# Columns of FlitState.log.
LOG_COLUMNS = 5  # cycle, node, source, cycle of creation, 2 * head + tail


@dataclass(frozen=True)
class FlitSettings:
    """Buffers and virtual channels of a flit-level network.

    Args:
        shape: routers, nodes and links.
        vcs: virtual channels a port; a torus needs two, one on each side of its dateline.
        buffer_flits: flits a virtual channel's buffer holds.

    Raises:
        CimsimError: on values out of range.
    """

    shape: NocShape
    vcs: int = 4
    buffer_flits: int = 8

    def __post_init__(self) -> None:
        least = 2 if self.shape.kind == "torus" else 1
        if not least <= self.vcs <= 64:
            raise CimsimError(
                "the number of virtual channels is out of range",
                key="vcs",
                value=self.vcs,
                allowed=f"{least} to 64 for a {self.shape.kind}",
            )
        if not 1 <= self.buffer_flits <= 4096:
            raise CimsimError(
                "the buffer size is out of range",
                key="buffer",
                value=self.buffer_flits,
                allowed="1 to 4096 flits",
            )
        slots = self.shape.routers * (4 + self.shape.concentration) * self.vcs
        if slots * self.buffer_flits > 1 << 22:
            raise CimsimError(
                "the network's buffers are too many to simulate flit by flit",
                key="mesh",
                value=slots * self.buffer_flits,
                allowed=f"at most {1 << 22} flits in all",
            )

    @property
    def ports(self) -> int:
        """Ports of a router: four neighbours and its nodes."""
        return 4 + self.shape.concentration


class FlitState(NamedTuple):
    """The network between two cycles, as arrays (R routers, P ports, V channels, N nodes).

    Channel c of port p of router r is row (r P + p) V + c; channel c of node n is n V + c.

    Attributes:
        geometry: the shape's geometry vector.
        vcs: (R P V, 13) input virtual channels.
        buffers: (R P V, depth) flits as 4 * packet + 2 * head + tail, a ring a channel.
        outs: (R P V, 4) output virtual channels, with the credits of the next buffer.
        ports: (R P, 3) round-robin pointers of the switch.
        sizes: (R, 2) lengths of the lists in `members`.
        members: (2 R, P V) of every router, the rows that wait for an output channel, and
            those that have one and a flit to send; in any order.
        packets: (K, 5) packets in the network; `free` is the stack of unused rows.
        free: (K,) stack.
        nodes: (N, 8) injection.
        node_vcs: (N V, 2) channels of the injection ports: in use, and credits.
        due: (BUCKETS, 4) how many arrivals of each kind a cycle has, by cycle modulo BUCKETS.
        arrivals: (BUCKETS, 4, R P, 2) the row that something reaches, and the flit.
        work: (3, ..) work space of the allocators.
        totals: counters and the clock.
        latencies: histogram of measured packet latencies, in cycles.
        log: (L, 5) the first L ejected flits; L is 0 except in tests.
    """

    geometry: Int64
    vcs: Int64
    buffers: Int64
    outs: Int64
    ports: Int64
    sizes: Int64
    members: Int64
    packets: Int64
    free: Int64
    nodes: Int64
    node_vcs: Int64
    due: Int64
    arrivals: Int64
    work: Int64
    totals: Int64
    latencies: Int64
    log: Int64


class FlitTraffic(NamedTuple):
    """Traffic in the form that the kernel takes (see `traffic.Traffic`)."""

    seed: int
    packet_flits: int
    threshold: np.uint64
    fixed: Int64
    hot_nodes: Int64
    hot_limits: npt.NDArray[np.uint64]


def flit_traffic(shape: NocShape, traffic: Traffic) -> FlitTraffic:
    """Return `traffic` on `shape` for the kernel.

    Args:
        shape: the network.
        traffic: pattern, rate, packet length and seed.
    """
    hot_nodes, hot_limits = traffic.hotspot_table(shape)
    return FlitTraffic(
        seed=traffic.seed,
        packet_flits=traffic.packet_flits,
        threshold=traffic.start_threshold(),
        fixed=traffic.targets(shape),
        hot_nodes=hot_nodes,
        hot_limits=hot_limits,
    )


def flit_state(settings: FlitSettings, longest_cycles: int, log: int = 0) -> FlitState:
    """Return an idle network at cycle 0.

    Args:
        settings: shape, virtual channels and buffers.
        longest_cycles: latencies up to this are counted one by one.
        log: how many ejected flits to log.
    """
    shape, vcs, depth, ports = settings.shape, settings.vcs, settings.buffer_flits, settings.ports
    rows, nodes = shape.routers * ports * vcs, shape.nodes
    packets = rows * depth + nodes * vcs * depth + nodes
    state = FlitState(
        geometry=shape.geometry(),
        vcs=_zeros(rows, 13),
        buffers=_zeros(rows, depth),
        outs=_zeros(rows, 4),
        ports=_zeros(shape.routers * ports, 3),
        sizes=_zeros(shape.routers, 2),
        members=_zeros(2 * shape.routers, ports * vcs),
        packets=_zeros(packets, 5),
        free=np.arange(packets, dtype=np.int64),
        nodes=_zeros(nodes, 8),
        node_vcs=_zeros(nodes * vcs, 2),
        due=_zeros(BUCKETS, 4),
        arrivals=_zeros(BUCKETS, 4, shape.routers * ports, 2),
        work=np.full((3, max(2 * ports * vcs, ports * (ports + 2))), -1, dtype=np.int64),
        totals=_zeros(12),
        latencies=_zeros(longest_cycles + 1),
        log=_zeros(log, LOG_COLUMNS),
    )
    state.outs[:, CREDITS] = depth
    state.node_vcs[:, CREDITS] = depth
    state.totals[FREE] = packets
    _wire(settings, state)
    return state


def _zeros(*size: int) -> Int64:
    return np.zeros(size, dtype=np.int64)


def _wire(settings: FlitSettings, state: FlitState) -> None:
    """Fill in which channel feeds which, and where the nodes sit."""
    shape, vcs, ports, geometry = settings.shape, settings.vcs, settings.ports, state.geometry
    row = np.arange(state.vcs.shape[0])
    state.vcs[:, HOME], port = row // (ports * vcs), row // vcs % ports
    state.vcs[:, IN_PORT], state.vcs[:, IN_VC] = port, row % vcs
    channel = np.arange(vcs)
    for router in range(shape.routers):
        for direction in range(4):
            there = neighbour(geometry, router, direction)
            if there >= 0:  # a link's far end is the port in the opposite direction
                out = (router * ports + direction) * vcs + channel
                far = (there * ports + (direction ^ 1)) * vcs + channel
                state.outs[out, BEYOND] = far
                state.vcs[far, UPSTREAM] = out
    for node in range(shape.nodes):
        own = state.nodes[node]
        own[ROUTER], own[PORT] = node_router(geometry, node), 4 + node_port(geometry, node)
        own[ENTRY] = (own[ROUTER] * ports + own[PORT]) * vcs
        own[PACKET] = own[LAST_VC] = -1
        state.outs[own[ENTRY] + channel, BEYOND] = node * vcs + channel
        state.vcs[own[ENTRY] + channel, UPSTREAM] = node * vcs + channel
