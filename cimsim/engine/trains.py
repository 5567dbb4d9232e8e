"""Moving vectors over the network of one chip: one by one, or as trains where nothing contends.

Where links are contended, `vectors` sends every vector by itself. Where they are not, vectors that
share a link move as a *train*, the packets of the vectors of one flight, in one go. Its head
reaches a link when it has passed the router before; its tail follows the last flit of the train or
the last flit that the sender had ready, whichever is later. A link of a multicast or reduction
tree carries each token once, however many experts of that token lie behind it.

`transport` joins the chips of a system.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.free_routes import reduce_free, scatter_free, send_free
from cimsim.engine.network import (
    Network,
    count_tokens,
    find_way,
    first_port,
    join_order,
    use_link,
)
from cimsim.engine.noc.kernel import ZERO, inlined, inner
from cimsim.engine.noc.packet import CYCLE_PS, INTERFACE_PS, LINK_PS, ROUTER_PS
from cimsim.engine.sums import reduce_vectors
from cimsim.engine.vectors import scatter_vectors, send_vectors

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
        flits: flits per vector.
        vectors: how many.
    """
    if net.flags[0] != 0:
        return send_vectors(net, first_ps, last_ps, source, target, flits, vectors)
    config = net.packet.config
    cycle, link_ps, router_ps = config[CYCLE_PS], config[LINK_PS], config[ROUTER_PS]
    total = flits * vectors
    # The train leaves as late as lets its last vector go out when that is ready.
    depart = max(first_ps, last_ps - (vectors - 1) * flits * cycle) + config[INTERFACE_PS]
    if net.flags[2] != 0:
        return send_free(net, depart, source, target, total)
    base, way = first_port(net), net.path[0]
    start = use_link(net, base + 2 * source, depart, total)
    head, tail = start + link_ps, start + (total - 1) * cycle + link_ps
    hops = find_way(net, source, target)
    way[hops] = base + 2 * target + 1
    for k in range(hops + 1):
        start = use_link(net, way[k], head + router_ps, total)
        tail = max(tail + router_ps, start + (total - 1) * cycle) + link_ps
        head = start + link_ps
    return int(tail)


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
    base, way = first_port(net), net.path[0]
    net.flags[1] += 1
    for k in range(count):
        mask = masks[k]
        if _join(net, base + 2 * targets[k] + 1, mask):
            continue
        hop = find_way(net, source, targets[k]) - 1
        while hop >= 0 and not _join(net, way[hop], mask):
            hop -= 1
        if hop < 0:
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
    firsts_ps: Int64,
    arrivals_ps: Int64,
) -> None:
    """Send the vectors of a flight from one port to several, each token once per link.

    Args:
        net: the network.
        first_ps: when the first vector is ready.
        last_ps: when the last vector is ready.
        source: sending port.
        targets: [>= count], receiving ports.
        masks: [>= count, words], tokens that each target takes.
        count: number of targets.
        flits: flits per vector.
        firsts_ps: out, [>= count], when all of the first vector is at each target.
        arrivals_ps: out, [>= count], when the last flit reaches each target.
    """
    if net.flags[0] != 0:
        scatter_vectors(
            net, first_ps, last_ps, source, targets, masks, count, flits, firsts_ps, arrivals_ps
        )
        return
    if net.flags[2] != 0 and net.flags[3] != 0:
        scatter_free(net, last_ps, source, targets, count, flits, arrivals_ps)
        for k in range(count):
            firsts_ps[k] = arrivals_ps[k]
        return
    _scatter_train(
        net, first_ps, last_ps, source, targets, masks, count, flits, firsts_ps, arrivals_ps
    )


@inlined
def _scatter_train(
    net: Network,
    first_ps: int,
    last_ps: int,
    source: int,
    targets: Int64,
    masks: UInt64,
    count: int,
    flits: int,
    firsts_ps: Int64,
    arrivals_ps: Int64,
) -> None:
    """Send the vectors of a flight as one train that branches."""
    config = net.packet.config
    cycle, link_ps, router_ps = config[CYCLE_PS], config[LINK_PS], config[ROUTER_PS]
    base, way = first_port(net), net.path[0]
    inject = base + 2 * source
    _mark_tree(net, source, targets, masks, count)
    total = flits * count_tokens(net.union[inject])
    depart = max(first_ps, last_ps - (total - flits) * cycle) + config[INTERFACE_PS]
    start = use_link(net, inject, depart, total)
    net.head[inject] = start + link_ps
    net.tail[inject] = start + (total - 1) * cycle + link_ps
    for k in range(count):
        eject = base + 2 * targets[k] + 1
        if net.head[eject] < 0:
            # Back to where the tree is reserved already, then forwards again.
            hops = find_way(net, source, targets[k])
            way[hops] = eject
            hop = hops
            while hop > 0 and net.head[way[hop - 1]] < 0:
                hop -= 1
            link = inject if hop == 0 else way[hop - 1]
            head, tail = net.head[link], net.tail[link]
            for step in range(hop, hops + 1):
                link = way[step]
                train = flits * count_tokens(net.union[link])
                left = use_link(net, link, head + router_ps, train)
                tail = max(tail + router_ps, left + (train - 1) * cycle) + link_ps
                head = left + link_ps
                net.head[link], net.tail[link] = head, tail
        arrivals_ps[k] = net.tail[eject]
        firsts_ps[k] = arrivals_ps[k] - (count_tokens(masks[k]) - 1) * flits * cycle


@inlined
def _enter_tree(
    net: Network,
    first_ps: int,
    last_ps: int,
    source: int,
    mask: UInt64,
    target: int,
    flits: int,
) -> int:
    """Inject one source's train and mark the links of its way to `target`.

    A router of the tree passes its sum on over one link, where its state is kept. New links join
    `Network.order`.

    Returns:
        The links between the farthest new one and the target.
    """
    config, base, way = net.packet.config, first_port(net), net.path[0]
    cycle, link_ps, farthest = config[CYCLE_PS], config[LINK_PS], 0
    epoch, size = net.flags[1], count_tokens(mask)
    depart = max(first_ps, last_ps - (size - 1) * flits * cycle) + config[INTERFACE_PS]
    start = use_link(net, base + 2 * source, depart, flits * size)
    hops = find_way(net, source, target)
    way[hops] = base + 2 * target + 1
    for hop in range(hops + 1):
        link = way[hop]
        if net.mark[link] != epoch:
            net.mark[link] = epoch
            net.head[link] = net.tail[link] = 0
            net.union[link] = np.uint64(0)
            net.path[1, link] = way[hop + 1] if hop < hops else -1
            join_order(net, link, hops - hop)
            farthest = max(farthest, hops - hop)
        elif hop > 0 and _contains(net.union[link], mask):
            return farthest  # the rest of the way has these tokens already
        for w in range(mask.size):
            net.union[link, w] |= mask[w]
        if hop == 0:
            net.head[link] = max(net.head[link], start + link_ps)
            net.tail[link] = max(net.tail[link], start + (flits * size - 1) * cycle + link_ps)
    return farthest


@inner
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
        flits: flits per vector.
    """
    if net.flags[0] != 0:
        return reduce_vectors(net, first_ps, last_ps, sources, masks, count, target, flits)
    if net.flags[2] != 0 and net.flags[3] != 0:
        return reduce_free(net, last_ps, sources, count, target, flits)
    config = net.packet.config
    cycle, link_ps, router_ps = config[CYCLE_PS], config[LINK_PS], config[ROUTER_PS]
    net.flags[1] += 1
    farthest = ZERO
    for k in range(count):
        far = _enter_tree(net, first_ps[k], last_ps[k], sources[k], masks[k], target, flits)
        farthest = max(farthest, far)
    tail = np.int64(0)
    for hops in range(farthest, -1, -1):
        link, net.order[hops] = net.order[hops], -1
        while link >= 0:
            total = flits * count_tokens(net.union[link])
            start = use_link(net, link, net.head[link] + router_ps, total)
            tail = max(net.tail[link] + router_ps, start + (total - 1) * cycle) + link_ps
            after = net.path[1, link]
            if after >= 0:
                net.head[after] = max(net.head[after], start + link_ps)
                net.tail[after] = max(net.tail[after], tail)
            link = net.path[3, link]
    return int(tail)
