"""Trees on the packet-level network: one packet to many nodes, many partial sums into one.

Routes from one node to several form a tree, and so do routes from several nodes to
one, because the next hop depends only on the router and the target. Routers copy packets
where a multicast tree branches and add them where a reduction tree does, so every link of a
tree carries one packet. Both are used by mixture-of-experts layers: a token goes to all its
experts, and their weighted outputs come back as one sum.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from cimsim.chip.routes import ROUTERS, link_end, next_link, router_distance
from cimsim.engine.noc.packet import (
    CYCLE_PS,
    INTERFACE_PS,
    LINK_PS,
    ROUTER_PS,
    PacketState,
    reserve,
)
from cimsim.kernel_cache import cached

__all__ = ["multicast", "reduce"]

Int64 = npt.NDArray[np.int64]


@cached
@njit()
def multicast(
    state: PacketState,
    now_ps: int,
    source: int,
    targets: Int64,
    flits: int,
    arrivals_ps: Int64,
) -> int:
    """Send one packet to several nodes along the tree of their routes.

    Routers on the tree copy the packet, so every link of the tree carries it once.

    Args:
        state: the network, changed in place.
        now_ps: when the source hands the packet to its network interface.
        source: sending node.
        targets: receiving nodes; one that occurs twice gets one packet.
        flits: length of the packet, at least 1.
        arrivals_ps: out, when the tail reaches each of `targets`.

    Returns:
        The latest of the arrivals, in ps.
    """
    config, routes, nodes = state.config, state.routes, state.nodes
    base = 4 * routes.geometry[ROUTERS]
    left_ps = np.full(len(state.used), -1, dtype=np.int64)
    start_head = (
        reserve(state, base + source, now_ps + config[INTERFACE_PS], flits) + config[LINK_PS]
    )
    latest = np.int64(0)
    for k in range(targets.size):
        head = start_head
        router, end, arrived = nodes[source], nodes[targets[k]], False
        while not arrived:
            link = next_link(routes, router, end)
            arrived = link < 0
            if arrived:
                link = base + nodes.size + targets[k]
            else:
                router = link_end(routes, link)
            if left_ps[link] < 0:
                left_ps[link] = reserve(state, link, head + config[ROUTER_PS], flits)
            head = left_ps[link] + config[LINK_PS]
        arrivals_ps[k] = head + (flits - 1) * config[CYCLE_PS]
        latest = max(latest, arrivals_ps[k])
    return int(latest)


@cached
@njit()
def _meet(latest: Int64, sums: Int64, router: int, head_ps: int) -> int:
    """Bring a partial sum to a router; return 1 if it meets another there, else 0."""
    latest[router] = head_ps if sums[router] == 0 else max(latest[router], head_ps)
    sums[router] += 1
    return 1 if sums[router] > 1 else 0


@cached
@njit()
def reduce(
    state: PacketState,
    ready_ps: Int64,
    sources: Int64,
    target: int,
    flits: int,
    add_ps: int,
) -> tuple[int, int]:
    """Add partial sums of several nodes on their way to one, along the tree of routes.

    A router where branches meet waits for all of them, adds flit by flit and passes one
    packet on, so every link of the tree carries one packet. Branches wait in the router's
    buffers, which are taken to be large enough.

    Args:
        state: the network, changed in place.
        ready_ps: when each source hands its partial sum to its network interface.
        sources: sending nodes, each with one partial sum.
        target: node that receives the sum.
        flits: length of a partial sum and of the sum, at least 1.
        add_ps: extra time in a router that adds.

    Returns:
        When the tail of the sum reaches the target in ps, and the number of additions of
        one packet to another.
    """
    config, routes, nodes = state.config, state.routes, state.nodes
    total = routes.geometry[ROUTERS]
    base, end = 4 * total, nodes[target]
    routers = np.empty(total, dtype=np.int64)
    found = 0
    additions = 0
    latest, sums = np.zeros(total, dtype=np.int64), np.full(total, -1, dtype=np.int64)
    for k in range(sources.size):  # the routers of the tree
        router = nodes[sources[k]]
        while sums[router] < 0:
            sums[router] = 0
            routers[found] = router
            found += 1
            if router == end:
                break
            router = link_end(routes, next_link(routes, router, end))
    for k in range(sources.size):
        start = reserve(state, base + sources[k], ready_ps[k] + config[INTERFACE_PS], flits)
        router = nodes[sources[k]]
        additions += _meet(latest, sums, router, start + config[LINK_PS])
    order = np.empty(found, dtype=np.int64)  # farthest routers first
    for k in range(found):
        hops = router_distance(routes, routers[k], end)
        order[k] = -(hops * total + routers[k])
    order.sort()
    head = np.int64(0)
    for k in range(found):
        router = (-order[k]) % total
        head = latest[router] + config[ROUTER_PS] + (add_ps if sums[router] > 1 else 0)
        if router == end:
            head = reserve(state, base + nodes.size + target, head, flits) + config[LINK_PS]
        else:
            link = next_link(routes, router, end)
            head = reserve(state, link, head, flits) + config[LINK_PS]
            additions += _meet(latest, sums, link_end(routes, link), head)
    return int(head + (flits - 1) * config[CYCLE_PS]), additions
