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

from cimsim.chip.routes import Routes
from cimsim.chip.topology import Topology
from cimsim.engine.noc.traffic import Traffic
from cimsim.errors import CimsimError

__all__ = ["DELAYS", "FlitSettings", "FlitState", "FlitTraffic", "flit_traffic"]

Int64 = npt.NDArray[np.int64]

# Entries of FlitState.delays, cycles from one stage to the next. In the standard router a flit
# that wins the switch in cycle t crosses it in t + 1, is on the link in t + 2 and in the next
# input buffer (or node) in t + 3. The credit of the slot that it leaves is on the link in
# t + 1, arrives in t + 2 and, in a router, counts one cycle (credit_delay) later. A node puts
# a flit on its link in t + 1.
HOP, CREDIT_TO_ROUTER, CREDIT_TO_NODE, INJECT = range(4)
DELAYS = (3, 3, 2, 2)
ROUTER_CYCLES, LINK_CYCLES = 3, 1
"""The pipeline that these delays are of."""

# Columns of FlitState.vcs (input virtual channels, and their branches).
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
    OWNER,  # row of the input channel that a branch belongs to, fixed
    COPY,  # packet that a branch sends on
    TAKEN,  # flits of the packet that a branch has sent on
    RELEASED,  # flits of the packet whose slots are free again
    BRANCHES,  # of the packet at the front, 0 if there is none
    LEFT,  # branches that have not sent their tail
) = range(19)
IDLE, WAITING, ACTIVE = range(3)
# Columns of FlitState.outs (output virtual channels).
IN_USE, CREDITS, VA_GRANT, BEYOND = range(4)  # BEYOND: the row that this channel feeds
# Columns of FlitState.ports.
SA_VC, SA_ACCEPT, SA_GRANT = range(3)
# Lists of FlitState.members: rows that wait for an output channel, that have a flit to send.
FOR_VC, FOR_SWITCH = range(2)
# Fields of FlitState.packets. TARGET is a node, or -1 for a packet to the targets of rows LO to
# HI - 1 of FlitState.targets; MESSAGE, INDEX and GOT belong to `flit_feed`.
SOURCE, TARGET, CREATED, HOPS, MEASURED, LO, HI, MESSAGE, INDEX, GOT = range(10)
# Columns of FlitState.targets: the node, and packets that have not reached it (`flit_feed`).
NODE, MISSING = range(2)
# Fields of FlitState.nodes.
NEXT_TRIAL, PACKET, FLITS_SENT, VC, LAST_VC, ROUTER, PORT, ENTRY = range(8)
# Columns of FlitState.awake: routers that have something to do, and whether one is listed.
LISTED, IS_LISTED = range(2)
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
    AWAKE,  # routers listed in FlitState.awake
) = range(13)
# Columns of FlitState.log.
LOG_COLUMNS = 5  # cycle, node, source, cycle of creation, 2 * head + tail


@dataclass(frozen=True)
class FlitSettings:
    """Buffers and virtual channels of a flit-level network.

    Args:
        shape: routers, nodes and links.
        vcs: virtual channels per port, at least one of each class that the shape needs.
        buffer_flits: flits a virtual channel's buffer holds.

    Raises:
        CimsimError: on values out of range.
    """

    shape: Topology
    vcs: int = 4
    buffer_flits: int = 8

    def __post_init__(self) -> None:
        least = self.shape.classes
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
        slots = self.shape.routers * self.ports * self.vcs
        if slots * self.buffer_flits > 1 << 22:
            raise CimsimError(
                "the network's buffers are too many to simulate flit by flit",
                key="mesh",
                value=slots * self.buffer_flits,
                allowed=f"at most {1 << 22} flits in all",
            )

    @property
    def ports(self) -> int:
        """Ports of a router: to its neighbours and its nodes."""
        return self.shape.router_links + self.shape.concentration


class FlitState(NamedTuple):
    """The network between two cycles, as arrays (R routers, P ports, V channels, N nodes).

    Channel c of port p of router r is row (r P + p) V + c; channel c of node n is n V + c. A
    packet to one target has one branch, the row of its input channel. Further branches of a
    multicast have rows of their own behind all channels: branch k > 0 of channel c is row
    R P V + c B + k - 1, with B = P - 1 where packets may branch and B = 0 where not.

    Attributes:
        routes: of the shape.
        delays: (4,) cycles between stages.
        vcs: (R P V (1 + B), 19) input virtual channels, then further branches.
        buffers: (R P V, depth) flits as 4 * packet + 2 * head + tail, a ring a channel.
        outs: (R P V, 4) output virtual channels, with the credits of the next buffer.
        ports: (R P, 3) round-robin pointers of the switch.
        carried: (R P, 2) flits and packets that left by each port.
        sizes: (R, 2) lengths of the lists in `members`.
        members: (2 R, P V (1 + B)) of every router, the rows that wait for an output channel,
            and those that have one and a flit to send; in any order.
        awake: (R, 2) routers that have such rows, and whether a router is among them.
        packets: (K, 10) packets in the network; `free` is the stack of unused rows.
        targets: (T, 2) nodes that packets to several go to, in the order of `flit_tree`.
        free: (K,) stack.
        nodes: (N, 8) injection.
        node_vcs: (N V, 2) channels of the injection ports: in use, and credits.
        due: (D, 4) how many arrivals of each kind a cycle has, by cycle modulo D, which is
            more than the longest delay.
        arrivals: (D, 4, R P, 2) the row that something reaches, and the flit.
        work: (3, ..) work space of the allocators.
        totals: counters and the clock.
        latencies: histogram of measured packet latencies, in cycles.
        log: (L, 5) the first L ejected flits; L is 0 except in tests.
    """

    routes: Routes
    delays: Int64
    vcs: Int64
    buffers: Int64
    outs: Int64
    ports: Int64
    carried: Int64
    sizes: Int64
    members: Int64
    awake: Int64
    packets: Int64
    free: Int64
    targets: Int64
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


def flit_traffic(shape: Topology, traffic: Traffic) -> FlitTraffic:
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
