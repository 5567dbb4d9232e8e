"""Moving vectors over the packet-level network: trains, multicast and reduction.

A *train* is the packets of the vectors of one flight that share a link, one packet a
vector. Its head reaches a link when it has passed the router before; its tail follows the
last flit of the train or the last flit that the sender had ready, whichever is later. Links
are reserved through `cimsim.engine.noc.packet.reserve`; a link of a multicast or reduction
tree carries each token once, however many experts of that token lie behind it.

Endpoints are ports (tiles, digital units, memory channels), each with an injection and an
ejection link of its own. Both engines call these kernels with the same arguments.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cimsim.engine.noc.packet import (
    BUSY_PS,
    CYCLE_PS,
    FLITS,
    INTERFACE_PS,
    LINK_PS,
    PACKETS,
    ROUTER_PS,
    PacketState,
    packet_state,
    reserve,
)
from cimsim.engine.noc.shape import HEIGHT, ROUTERS, WIDTH, neighbour, next_direction
from cimsim.engine.noc.shape import LOCAL as ARRIVED
from cimsim.engine.noc.shape import router_distance as distance
from cimsim.engine.plan import Transport

__all__ = ["Network", "make_network", "reduce_train", "scatter_trains", "send_train"]

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]


class Network(NamedTuple):
    """State of the network during a run, as arrays that the kernels change in place.

    Attributes:
        packet: link reservations and use.
        router: [ports], router of every endpoint.
        flags: [2], whether links are contended; scratch epoch.
        mark: [links], epoch in which a link joined a tree.
        head, tail: [links], times of the train on a link of a tree.
        union: [links, words], tokens that pass a link of a tree.
    """

    packet: PacketState
    router: Int64
    flags: Int64
    mark: Int64
    head: Int64
    tail: Int64
    union: UInt64


def make_network(transport: Transport) -> Network:
    """Return an idle network."""
    state = packet_state(transport.shape, transport.timing)
    ports = len(transport.ports.router)
    links = 4 * transport.shape.routers + 2 * ports
    reserved = np.zeros((links, state.reserved.shape[1]), dtype=np.int64)
    used = np.zeros((links, state.used.shape[1]), dtype=np.int64)
    return Network(
        packet=state._replace(reserved=reserved, used=used),
        router=transport.ports.router,
        flags=np.array([int(transport.contended), 0], dtype=np.int64),
        mark=np.zeros(links, dtype=np.int64),
        head=np.zeros(links, dtype=np.int64),
        tail=np.zeros(links, dtype=np.int64),
        union=np.zeros((links, transport.words), dtype=np.uint64),
    )


@njit(cache=True)
def _take(net: Network, link: int, ready_ps: int, flits: int) -> int:
    """Reserve a link, or only count its use where links are not contended."""
    if net.flags[0] != 0:
        return reserve(net.packet, link, ready_ps, flits)
    used = net.packet.used[link]
    used[BUSY_PS] += flits * net.packet.config[CYCLE_PS]
    used[FLITS] += flits
    used[PACKETS] += 1
    return int(ready_ps)


@njit(cache=True)
def _bits(words: UInt64) -> int:
    """Return the number of tokens in a set."""
    count = 0
    for i in range(words.size):
        word = words[i]
        while word != np.uint64(0):
            word &= word - np.uint64(1)
            count += 1
    return count


@njit(cache=True)
def send_train(
    net: Network, first_ps: int, last_ps: int, source: int, target: int, flits: int, vectors: int
) -> int:
    """Send the vectors of one visit and return when the last flit arrives.

    Args:
        net: the network.
        first_ps: when the first vector is ready.
        last_ps: when the last vector is ready.
        source: sending port.
        target: receiving port.
        flits: flits a vector.
        vectors: how many.
    """
    config = net.packet.config
    cycle, link_ps, router_ps = config[CYCLE_PS], config[LINK_PS], config[ROUTER_PS]
    total = flits * vectors
    # The train leaves as late as lets its last vector go out when that is ready.
    depart = max(first_ps, last_ps - (vectors - 1) * flits * cycle) + config[INTERFACE_PS]
    base = 4 * config[ROUTERS]
    start = _take(net, base + 2 * source, depart, total)
    head, tail = start + link_ps, start + (total - 1) * cycle + link_ps
    router, end = net.router[source], net.router[target]
    while True:
        direction = next_direction(config, router, end)
        link = base + 2 * target + 1 if direction == ARRIVED else 4 * router + direction
        start = _take(net, link, head + router_ps, total)
        tail = max(tail + router_ps, start + (total - 1) * cycle) + link_ps
        head = start + link_ps
        if direction == ARRIVED:
            return int(tail)
        router = neighbour(config, router, direction)


@njit(cache=True)
def _mark_tree(net: Network, source: int, targets: Int64, masks: UInt64, count: int) -> None:
    """Find the links of a multicast tree and the tokens that pass each."""
    config = net.packet.config
    base = 4 * config[ROUTERS]
    words = net.union.shape[1]
    inject = base + 2 * source
    net.flags[1] += 1
    epoch = net.flags[1]
    for k in range(count):
        router, end, link = net.router[source], net.router[targets[k]], inject
        while True:
            if net.mark[link] != epoch:
                net.mark[link] = epoch
                net.head[link] = -1
                net.union[link] = np.uint64(0)
            for w in range(words):
                net.union[link, w] |= masks[k, w]
            if link == base + 2 * targets[k] + 1:
                break
            direction = next_direction(config, router, end)
            if direction == ARRIVED:
                link = base + 2 * targets[k] + 1
            else:
                link = 4 * router + direction
                router = neighbour(config, router, direction)


@njit(cache=True)
def scatter_trains(
    net: Network,
    now_ps: int,
    source: int,
    targets: Int64,
    masks: UInt64,
    count: int,
    flits: int,
    arrivals_ps: Int64,
) -> None:
    """Send the vectors of a flight from one port to several, each token once a link.

    Args:
        net: the network.
        now_ps: when the vectors are ready.
        source: sending port.
        targets: [>= count], receiving ports.
        masks: [>= count, words], tokens that each target takes.
        count: number of targets.
        flits: flits a vector.
        arrivals_ps: out, [>= count], when the last flit reaches each target.
    """
    config = net.packet.config
    cycle, link_ps, router_ps = config[CYCLE_PS], config[LINK_PS], config[ROUTER_PS]
    base = 4 * config[ROUTERS]
    inject = base + 2 * source
    _mark_tree(net, source, targets, masks, count)
    total = flits * _bits(net.union[inject])
    start = _take(net, inject, now_ps + config[INTERFACE_PS], total)
    for k in range(count):
        head, tail = start + link_ps, start + (total - 1) * cycle + link_ps
        router, end = net.router[source], net.router[targets[k]]
        while True:
            direction = next_direction(config, router, end)
            link = base + 2 * targets[k] + 1 if direction == ARRIVED else 4 * router + direction
            if net.head[link] < 0:
                train = flits * _bits(net.union[link])
                left = _take(net, link, head + router_ps, train)
                net.tail[link] = max(tail + router_ps, left + (train - 1) * cycle) + link_ps
                net.head[link] = left + link_ps
            head, tail = net.head[link], net.tail[link]
            if direction == ARRIVED:
                break
            router = neighbour(config, router, direction)
        arrivals_ps[k] = tail


@njit(cache=True)
def reduce_train(
    net: Network,
    first_ps: Int64,
    last_ps: Int64,
    sources: Int64,
    masks: UInt64,
    count: int,
    target: int,
    flits: int,
) -> int:
    """Add the results of several visits on their way to one port; return the last arrival.

    A router where branches meet waits for the heads of all of them, adds flit by flit and
    passes one train on, in which each token occurs once. Branches wait in the routers'
    buffers, which are taken to be large enough.

    Args:
        net: the network.
        first_ps: [>= count], when the first result of each source is ready.
        last_ps: [>= count], when its last one is.
        sources: [>= count], sending ports.
        masks: [>= count, words], tokens of each source.
        count: number of sources.
        target: receiving port.
        flits: flits a vector.
    """
    config = net.packet.config
    cycle, link_ps, router_ps = config[CYCLE_PS], config[LINK_PS], config[ROUTER_PS]
    routers_total = config[ROUTERS]
    base = 4 * routers_total
    words = net.union.shape[1]
    end = net.router[target]
    net.flags[1] += 1
    epoch = net.flags[1]
    order = np.empty(count * (config[WIDTH] + config[HEIGHT]) + 1, dtype=np.int64)
    found = 0
    # The tree's state at a router is kept at index 4 x router, its first output link.
    for k in range(count):
        size = _bits(masks[k])
        depart = max(first_ps[k], last_ps[k] - (size - 1) * flits * cycle) + config[INTERFACE_PS]
        start = _take(net, base + 2 * sources[k], depart, flits * size)
        head, tail = start + link_ps, start + (flits * size - 1) * cycle + link_ps
        router, first = net.router[sources[k]], True
        while True:
            at = 4 * router
            if net.mark[at] != epoch:
                net.mark[at] = epoch
                net.head[at] = 0
                net.tail[at] = 0
                net.union[at] = np.uint64(0)
                order[found] = -(distance(config, router, end) * routers_total + router)
                found += 1
            for w in range(words):
                net.union[at, w] |= masks[k, w]
            if first:
                net.head[at] = max(net.head[at], head)
                net.tail[at] = max(net.tail[at], tail)
                first = False
            if router == end:
                break
            router = neighbour(config, router, next_direction(config, router, end))
    tree = order[:found]
    tree.sort()  # farthest routers first
    tail = np.int64(0)
    for k in range(found):
        router = (-tree[k]) % routers_total
        at = 4 * router
        total = flits * _bits(net.union[at])
        if router == end:
            link = base + 2 * target + 1
        else:
            direction = next_direction(config, router, end)
            link = at + direction
        start = _take(net, link, net.head[at] + router_ps, total)
        tail = max(net.tail[at] + router_ps, start + (total - 1) * cycle) + link_ps
        if router != end:
            after = 4 * neighbour(config, router, direction)
            net.head[after] = max(net.head[after], start + link_ps)
            net.tail[after] = max(net.tail[after], tail)
    return int(tail)
