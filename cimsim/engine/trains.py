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

from cimsim.engine.free_routes import reduce_free, scatter_free, send_free
from cimsim.engine.network import Network, count_tokens, take_link
from cimsim.engine.noc.kernel import ZERO, allocating, inner
from cimsim.engine.noc.packet import CYCLE_PS, INTERFACE_PS, LINK_PS, ROUTER_PS
from cimsim.engine.noc.shape import HEIGHT, ROUTERS, WIDTH, neighbour, next_direction
from cimsim.engine.noc.shape import LOCAL as ARRIVED
from cimsim.engine.noc.shape import router_distance as distance

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
    base = 4 * config[ROUTERS]
    start = take_link(net, base + 2 * source, depart, total)
    head, tail = start + link_ps, start + (total - 1) * cycle + link_ps
    router, end = net.router[source], net.router[target]
    while True:
        direction = next_direction(config, router, end)
        link = base + 2 * target + 1 if direction == ARRIVED else 4 * router + direction
        start = take_link(net, link, head + router_ps, total)
        tail = max(tail + router_ps, start + (total - 1) * cycle) + link_ps
        head = start + link_ps
        if direction == ARRIVED:
            return int(tail)
        router = neighbour(config, router, direction)


@inner
def _backwards(net: Network, source: int, target: int) -> tuple[int, int, int, int]:
    """Return how to walk a route from its end: directions and lengths along y, then x."""
    config = net.packet.config
    width, start, end = config[WIDTH], net.router[source], net.router[target]
    corner = start - start % width + end % width
    along_x = next_direction(config, start, corner)
    along_y = next_direction(config, corner, end)
    return along_y, distance(config, corner, end), along_x, distance(config, start, corner)


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


@inner
def _opposite(direction: int) -> int:
    return direction ^ 1


@inner
def _mark_tree(net: Network, source: int, targets: Int64, masks: UInt64, count: int) -> None:
    """Find the links of a multicast tree and the tokens that pass each.

    Routes are walked from their ends, and only to where the tree has the tokens already.
    """
    config = net.packet.config
    base = 4 * config[ROUTERS]
    net.flags[1] += 1
    for k in range(count):
        mask = masks[k]
        if _join(net, base + 2 * targets[k] + 1, mask):
            continue
        along_y, ys, along_x, xs = _backwards(net, source, targets[k])
        router, done = net.router[targets[k]], False
        for hop in range(ys + xs):
            direction = along_y if hop < ys else along_x
            router = neighbour(config, router, _opposite(direction))
            done = _join(net, 4 * router + direction, mask)
            if done:
                break
        if not done:
            _join(net, base + 2 * source, mask)


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
    base = 4 * config[ROUTERS]
    inject = base + 2 * source
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
            along_y, ys, along_x, xs = _backwards(net, source, targets[k])
            router, link, back = net.router[targets[k]], eject, 0
            while net.head[link] < 0 and back < ys + xs:
                direction = along_y if back < ys else along_x
                router = neighbour(config, router, _opposite(direction))
                link = 4 * router + direction
                back += 1
            if net.head[link] < 0:
                link = inject
            else:
                router = neighbour(config, router, direction)
                back -= 1
            head, tail = net.head[link], net.tail[link]
            while back >= 0:
                if back == 0:
                    link = eject
                else:
                    direction = along_y if back <= ys else along_x
                    link = 4 * router + direction
                    router = neighbour(config, router, direction)
                back -= 1
                train = flits * count_tokens(net.union[link])
                left = take_link(net, link, head + router_ps, train)
                tail = max(tail + router_ps, left + (train - 1) * cycle) + link_ps
                head = left + link_ps
                net.head[link], net.tail[link] = head, tail
        arrivals_ps[k] = net.tail[eject]


@inner
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

    The tree's state at a router is kept at index 4 x router, its first output link. New
    routers are appended to `order`, farthest first after sorting.

    Returns:
        The number of routers found so far.
    """
    config = net.packet.config
    cycle, link_ps = config[CYCLE_PS], config[LINK_PS]
    epoch, size = net.flags[1], count_tokens(mask)
    depart = max(first_ps, last_ps - (size - 1) * flits * cycle) + config[INTERFACE_PS]
    start = take_link(net, 4 * config[ROUTERS] + 2 * source, depart, flits * size)
    router, first = net.router[source], True
    while True:
        at = 4 * router
        if net.mark[at] != epoch:
            net.mark[at] = epoch
            net.head[at] = net.tail[at] = 0
            net.union[at] = np.uint64(0)
            order[found] = -(distance(config, router, end) * config[ROUTERS] + router)
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
        router = neighbour(config, router, next_direction(config, router, end))


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
    routers_total = config[ROUTERS]
    base = 4 * routers_total
    end = net.router[target]
    net.flags[1] += 1
    order = np.empty(count * (config[WIDTH] + config[HEIGHT]) + 1, dtype=np.int64)
    found = ZERO
    for k in range(count):
        found = _enter_tree(
            net, first_ps[k], last_ps[k], sources[k], masks[k], end, flits, order, found
        )
    tree = order[:found]
    tree.sort()  # farthest routers first
    tail = np.int64(0)
    for k in range(found):
        router = (-tree[k]) % routers_total
        at = 4 * router
        total = flits * count_tokens(net.union[at])
        if router == end:
            link = base + 2 * target + 1
        else:
            direction = next_direction(config, router, end)
            link = at + direction
        start = take_link(net, link, net.head[at] + router_ps, total)
        tail = max(net.tail[at] + router_ps, start + (total - 1) * cycle) + link_ps
        if router != end:
            after = 4 * neighbour(config, router, direction)
            net.head[after] = max(net.head[after], start + link_ps)
            net.tail[after] = max(net.tail[after], tail)
    return int(tail)
