"""Adding vectors on their way over the contended network of one chip, token by token.

A router where parts of a sum meet passes one vector on, once the heads of all parts are there.
The sum leaves the router into the adder beside it and enters again, which takes `JOIN_CYCLES`;
the adder has room for all that waits, so that no part holds its sender up for another one
(`flit_feed`). Otherwise links are reserved and senders held up as in `vectors`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.network import (
    Network,
    count_bits,
    count_tokens,
    find_way,
    first_port,
    join_order,
)
from cimsim.engine.noc.kernel import ZERO, inlined, inner
from cimsim.engine.noc.packet import (
    CYCLE_PS,
    INTERFACE_PS,
    LINK_PS,
    ROOM_PS,
    ROUTER_PS,
    release,
    reserve,
)
from cimsim.engine.vectors import union, vector_ready

__all__ = ["JOIN_CYCLES", "reduce_vectors"]

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]

JOIN_CYCLES = 6
"""Four from the router into the adder and two from there into the router."""


@inner
def reduce_vectors(
    net: Network,
    first_ps: Int64,
    last_ps: Int64,
    sources: Int64,
    masks: UInt64,
    count: int,
    target: int,
    flits: int,
) -> int:
    """Add the results of several visits on their way to one port, token by token.

    A router where branches meet waits for the heads of all of them, adds flit by flit and
    passes one vector on. Branches wait in the adder, which has room for whatever waits.

    Args:
        net: the network.
        first_ps: [>= count], when the first result of each source is ready.
        last_ps: [>= count], when its last one is.
        sources: [>= count], sending ports.
        masks: [>= count, words], tokens of each source.
        count: number of sources.
        target: receiving port.
        flits: flits per vector.

    Returns:
        When the last sum is there.
    """
    last = np.int64(0)
    for w in range(masks.shape[1]):
        left = union(masks, count, w)
        while left != np.uint64(0):
            token = left & (~left + np.uint64(1))
            left ^= token
            tail = _sum(net, first_ps, last_ps, sources, masks, w, token, count, target, flits)
            last = max(last, np.int64(tail))
    return int(last)


@inlined
def _rank(masks: UInt64, k: int, w: int, token: np.uint64) -> int:
    """Return how many tokens a set has before one of its own."""
    before = count_bits(masks[k, w] & (token - np.uint64(1)))
    for other in range(w):
        before += count_bits(masks[k, other])
    return before


@inlined
def _leave(
    net: Network,
    first_ps: Int64,
    last_ps: Int64,
    sources: Int64,
    masks: UInt64,
    w: int,
    token: np.uint64,
    count: int,
    target: int,
    flits: int,
) -> int:
    """Let the parts of one token leave their senders; return how far their tree reaches.

    `net.order` names the links of the tree by how far they are from the target.
    """
    config, base, way = net.packet.config, first_port(net), net.path[0]
    link_ps = config[LINK_PS]
    net.flags[1] += 1
    epoch, farthest = net.flags[1], 0
    for k in range(count):
        if masks[k, w] & token == np.uint64(0):
            continue
        size, inject = count_tokens(masks[k]), base + 2 * sources[k]
        rank = _rank(masks, k, w, token) if size > 1 else 0
        ready = vector_ready(first_ps[k], last_ps[k], rank, size)
        start = reserve(net.packet, inject, ready + config[INTERFACE_PS], flits)
        hops = find_way(net, sources[k], target)
        way[hops] = base + 2 * target + 1
        net.head[inject], net.path[1, inject] = start, way[0]
        for hop in range(hops + 1):
            link = way[hop]
            if net.mark[link] == epoch:
                net.path[2, link] += 1  # parts that meet here
                if hop == 0:
                    net.head[link] = max(net.head[link], start + link_ps)
                break
            net.mark[link] = epoch
            net.head[link] = start + link_ps if hop == 0 else 0
            net.path[2, link] = 1
            net.path[1, link] = way[hop + 1] if hop < hops else -1
            # A router of the tree passes its sum on over one link.
            join_order(net, link, hops - hop)
            farthest = max(farthest, hops - hop)
    return int(farthest)


@inner
def _sum(
    net: Network,
    first_ps: Int64,
    last_ps: Int64,
    sources: Int64,
    masks: UInt64,
    w: int,
    token: np.uint64,
    count: int,
    target: int,
    flits: int,
) -> int:
    """Add the parts of one token on their way; return when the tail of the sum arrives."""
    config, base = net.packet.config, first_port(net)
    link_ps, router_ps, span = config[LINK_PS], config[ROUTER_PS], flits * config[CYCLE_PS]
    farthest = _leave(net, first_ps, last_ps, sources, masks, w, token, count, target, flits)
    start = longest_ps = ZERO
    for hops in range(farthest, -1, -1):
        link, net.order[hops] = net.order[hops], -1
        while link >= 0:
            head = net.head[link] + router_ps
            if net.path[2, link] > 1:
                head += JOIN_CYCLES * config[CYCLE_PS]
            start = reserve(net.packet, link, head, flits)
            longest_ps = max(longest_ps, start - head)
            after = net.path[1, link]
            if after >= 0:
                net.head[after] = max(net.head[after], start + link_ps)
            net.head[link] = start
            link = net.path[3, link]
    if longest_ps + link_ps + router_ps > config[ROOM_PS]:  # or buffers hold what waits
        _hold_senders(net, base, sources, masks, w, token, count, span)
    return int(start + span - config[CYCLE_PS] + link_ps)


@inlined
def _hold_senders(
    net: Network,
    base: int,
    sources: Int64,
    masks: UInt64,
    w: int,
    token: np.uint64,
    count: int,
    span_ps: int,
) -> None:
    """Hold the senders of parts until there is room for their tails: adders always have some."""
    room_ps = net.packet.config[ROOM_PS]
    for k in range(count):
        if masks[k, w] & token == np.uint64(0):
            continue
        inject = base + 2 * sources[k]
        first, link = net.head[inject], net.path[1, inject]
        held, room = first, room_ps
        while link >= 0 and net.path[2, link] == 1:
            held = max(held, net.head[link] - room)
            link, room = net.path[1, link], room + room_ps
        if held > first:
            release(net.packet, inject, first + span_ps, held + span_ps)
