"""Moving vectors over the network of one chip: trains, multicast and reduction.

A *train* is the packets of the vectors of one flight that share a link, one packet a
vector. Its head reaches a link when it has passed the router before; its tail follows the
last flit of the train or the last flit that the sender had ready, whichever is later. Links
are reserved through `cimsim.engine.noc.packet.reserve`; a link of a multicast or reduction
tree carries each token once, however many experts of that token lie behind it.

`transport` joins the chips of a system.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.routes import LINKS, ROUTERS, last_link, link_end, next_link
from cimsim.chip.routes import router_distance as distance
from cimsim.engine.free_routes import reduce_free, scatter_free, send_free
from cimsim.engine.network import Network, count_tokens, take_link
from cimsim.engine.noc.kernel import ZERO, allocating, inlined, inner
from cimsim.engine.noc.packet import CYCLE_PS, INTERFACE_PS, LINK_PS, ROUTER_PS

__all__ = ["reduce_local", "scatter_local", "send_local"]

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]


@inner
def send_local(
    net: Network, first_ps: int, last_ps: int, source: int, target: int, flits: int, vectors: int
) -> int:
    """Send vectors between two ports of a chip and return when the last flit arrives.

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
    if net.flags[2] != 0:
        return send_free(net, depart, source, target, total)
    routes, base = net.packet.routes, _first_port(net)
    start = take_link(net, base + 2 * source, depart, total)
    head, tail = start + link_ps, start + (total - 1) * cycle + link_ps
    router, end = net.router[source], net.router[target]
    while True:
        link = next_link(routes, router, end)
        arrived = link < 0
        if arrived:
            link = base + 2 * target + 1
        start = take_link(net, link, head + router_ps, total)
        tail = max(tail + router_ps, start + (total - 1) * cycle) + link_ps
        head = start + link_ps
        if arrived:
            return int(tail)
        router = link_end(routes, link)


@inner
def _first_port(net: Network) -> int:
    """Return the number of the first link between a router and a port."""
    geometry = net.packet.routes.geometry
    return int(geometry[LINKS] * geometry[ROUTERS])


@inner
def _contains(words: UInt64, mask: UInt64) -> bool:
    missing = np.uint64(0)
    for w in range(mask.size):
        missing |= mask[w] & ~words[w]
    return bool(missing == np.uint64(0))


@inner
def _join(net: Network, link: int, mask: UInt64) -> bool:
    """Add tokens to a link of a tree; return whether the links before it have them already."""
    epoch = net.flags[1]
    if net.mark[link] != epoch:
        net.mark[link] = epoch
        net.head[link] = -1
        net.union[link] = np.uint64(0)
    elif _contains(net.union[link], mask):
        return True
    for w in range(mask.size):
        net.union[link, w] |= mask[w]
    return False


@inlined
def _mark_tree(net: Network, source: int, targets: Int64, masks: UInt64, count: int) -> None:
    """Find the links of a multicast tree and the tokens that pass each.

    Routes are walked from their ends, and only to where the tree has the tokens already.
    """
    routes, base = net.packet.routes, _first_port(net)
    links, start = routes.geometry[LINKS], net.router[source]
    net.flags[1] += 1
    for k in range(count):
        mask = masks[k]
        link, router = base + 2 * targets[k] + 1, net.router[targets[k]]
        while not _join(net, link, mask):
            if link == base + 2 * source:
                break
            link = last_link(routes, start, router)
            if link < 0:
                link = base + 2 * source
            router = link // links


@inner
def scatter_local(
    net: Network,
    first_ps: int,
    last_ps: int,
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
        first_ps: when the first vector is ready.
        last_ps: when the last vector is ready.
        source: sending port.
        targets: [>= count], receiving ports.
        masks: [>= count, words], tokens that each target takes.
        count: number of targets.
        flits: flits a vector.
        arrivals_ps: out, [>= count], when the last flit reaches each target.
    """
    if net.flags[2] != 0 and net.flags[3] != 0:
        scatter_free(net, last_ps, source, targets, count, flits, arrivals_ps)
        return
    config = net.packet.config
    cycle, link_ps, router_ps = config[CYCLE_PS], config[LINK_PS], config[ROUTER_PS]
    routes, base = net.packet.routes, _first_port(net)
    links, inject = routes.geometry[LINKS], base + 2 * source
    _mark_tree(net, source, targets, masks, count)
    total = flits * count_tokens(net.union[inject])
    depart = max(first_ps, last_ps - (total - flits) * cycle) + config[INTERFACE_PS]
    start = take_link(net, inject, depart, total)
    net.head[inject] = start + link_ps
    net.tail[inject] = start + (total - 1) * cycle + link_ps
    for k in range(count):
        eject = base + 2 * targets[k] + 1
        if net.head[eject] < 0:
            # Back to where the tree is reserved already, then forwards again.
            end = net.router[targets[k]]
            router, link = end, inject
            while router != net.router[source]:
                before = last_link(routes, net.router[source], router)
                if net.head[before] >= 0:
                    link = before
                    break
                router = before // links
            head, tail = net.head[link], net.tail[link]
            while link != eject:
                link = next_link(routes, router, end)
                if link < 0:
                    link = eject
                else:
                    router = link_end(routes, link)
                train = flits * count_tokens(net.union[link])
                left = take_link(net, link, head + router_ps, train)
                tail = max(tail + router_ps, left + (train - 1) * cycle) + link_ps
                head = left + link_ps
                net.head[link], net.tail[link] = head, tail
        arrivals_ps[k] = net.tail[eject]


@inlined
def _enter_tree(
    net: Network,
    first_ps: int,
    last_ps: int,
    source: int,
    mask: UInt64,
    end: int,
    flits: int,
    order: Int64,
    found: int,
) -> int:
    """Inject one source's train and mark the routers of its way to `end`.

    The tree's state at a router is kept at its first output link. New routers are appended to
    `order`, farthest first after sorting.

    Returns:
        The number of routers found so far.
    """
    config, routes = net.packet.config, net.packet.routes
    cycle, link_ps = config[CYCLE_PS], config[LINK_PS]
    links, routers_total = routes.geometry[LINKS], routes.geometry[ROUTERS]
    epoch, size = net.flags[1], count_tokens(mask)
    depart = max(first_ps, last_ps - (size - 1) * flits * cycle) + config[INTERFACE_PS]
    start = take_link(net, links * routers_total + 2 * source, depart, flits * size)
    router, first = net.router[source], True
    while True:
        at = links * router
        if net.mark[at] != epoch:
            net.mark[at] = epoch
            net.head[at] = net.tail[at] = 0
            net.union[at] = np.uint64(0)
            order[found] = -(distance(routes, router, end) * routers_total + router)
            found += 1
        elif not first and _contains(net.union[at], mask):
            return found  # the rest of the way has these tokens already
        for w in range(mask.size):
            net.union[at, w] |= mask[w]
        if first:
            net.head[at] = max(net.head[at], start + link_ps)
            net.tail[at] = max(net.tail[at], start + (flits * size - 1) * cycle + link_ps)
            first = False
        if router == end:
            return found
        router = link_end(routes, next_link(routes, router, end))


@inlined
def _sort(numbers: Int64) -> None:
    """Sort a few numbers, most of which are in order."""
    for k in range(1, numbers.size):
        number, at = numbers[k], k
        while at > 0 and numbers[at - 1] > number:
            numbers[at] = numbers[at - 1]
            at -= 1
        numbers[at] = number


@allocating
def reduce_local(
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
    if net.flags[2] != 0 and net.flags[3] != 0:
        return reduce_free(net, last_ps, sources, count, target, flits)
    config = net.packet.config
    cycle, link_ps, router_ps = config[CYCLE_PS], config[LINK_PS], config[ROUTER_PS]
    routes = net.packet.routes
    links, routers_total = routes.geometry[LINKS], routes.geometry[ROUTERS]
    end = net.router[target]
    net.flags[1] += 1
    room = ZERO  # routers on the ways, each counted once a way
    for k in range(count):
        room += distance(routes, net.router[sources[k]], end) + 1
    order = np.empty(room, dtype=np.int64)
    found = ZERO
    for k in range(count):
        found = _enter_tree(
            net, first_ps[k], last_ps[k], sources[k], masks[k], end, flits, order, found
        )
    tree = order[:found]
    _sort(tree)  # farthest routers first
    tail = np.int64(0)
    for k in range(found):
        router = (-tree[k]) % routers_total
        at = links * router
        total = flits * count_tokens(net.union[at])
        if router == end:
            link = links * routers_total + 2 * target + 1
        else:
            link = next_link(routes, router, end)
        start = take_link(net, link, net.head[at] + router_ps, total)
        tail = max(net.tail[at] + router_ps, start + (total - 1) * cycle) + link_ps
        if router != end:
            after = links * link_end(routes, link)
            net.head[after] = max(net.head[after], start + link_ps)
            net.tail[after] = max(net.tail[after], tail)
    return int(tail)
