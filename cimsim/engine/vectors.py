"""Moving vectors over the contended network of one chip, one by one as they are ready.

Each vector is a packet of its own: a token's input goes to the tiles of its experts alone, and
between two vectors of a slow sender a link serves others. Vectors that become ready between a
first and a last time are taken to do so evenly. Links are reserved and senders held up as
`cimsim.engine.noc.packet` says; a branching vector holds its sender up for its slowest branch.
`sums` adds vectors on their way; `trains` moves all vectors of a flight at once where links are
not contended.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.network import Network, count_bits, find_way, first_port
from cimsim.engine.noc.kernel import ZERO, inlined, inner
from cimsim.engine.noc.packet import (
    CYCLE_PS,
    INTERFACE_PS,
    LINK_PS,
    ROOM_PS,
    ROUTER_PS,
    release,
    reserve,
    travel,
)

__all__ = ["scatter_vectors", "send_vectors", "union", "vector_ready"]

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]


@inlined
def vector_ready(first_ps: int, last_ps: int, k: int, n: int) -> int:
    """Return when vector k of n is ready."""
    if n < 2:
        return max(first_ps, last_ps)
    return first_ps + (last_ps - first_ps) * k // (n - 1)


@inner
def send_vectors(
    net: Network, first_ps: int, last_ps: int, source: int, target: int, flits: int, vectors: int
) -> int:
    """Send vectors between two ports; return when the last of them is there.

    Args:
        net: the network.
        first_ps: when the first vector is ready.
        last_ps: when the last vector is ready.
        source: sending port.
        target: receiving port.
        flits: flits per vector.
        vectors: how many.
    """
    base, way, last = first_port(net), net.path[0], ZERO
    hops = find_way(net, source, target)
    way[hops] = base + 2 * target + 1
    for k in range(vectors):
        ready = vector_ready(first_ps, last_ps, k, vectors)
        last = max(last, travel(net.packet, base + 2 * source, way, hops + 1, ready, flits))
    return int(last)


@inner
def scatter_vectors(
    net: Network,
    first_ps: int,
    last_ps: int,
    source: int,
    targets: Int64,
    masks: UInt64,
    count: int,
    flits: int,
    firsts_ps: Int64,
    lasts_ps: Int64,
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
        lasts_ps: out, [>= count], when all of the last one is.
    """
    total = at = 0
    for k in range(count):
        firsts_ps[k] = lasts_ps[k] = 0
    for w in range(masks.shape[1]):
        total += count_bits(union(masks, count, w))
    for w in range(masks.shape[1]):
        left = union(masks, count, w)
        while left != np.uint64(0):
            token = left & (~left + np.uint64(1))
            left ^= token
            ready = vector_ready(first_ps, last_ps, at, total)
            at += 1
            _spread(net, ready, source, targets, masks, w, token, count, flits, firsts_ps, lasts_ps)


@inner
def union(masks: UInt64, count: int, w: int) -> np.uint64:
    """Return a word of the tokens that any of some sets has."""
    found = np.uint64(0)
    for k in range(count):
        found |= masks[k, w]
    return found


@inlined
def _spread(
    net: Network,
    ready_ps: int,
    source: int,
    targets: Int64,
    masks: UInt64,
    w: int,
    token: np.uint64,
    count: int,
    flits: int,
    firsts_ps: Int64,
    lasts_ps: Int64,
) -> None:
    """Send one token to the targets that take it."""
    config = net.packet.config
    link_ps, span = config[LINK_PS], flits * config[CYCLE_PS]
    hop_ps, room_ps = link_ps + config[ROUTER_PS], config[ROOM_PS]
    base, way = first_port(net), net.path[0]
    net.flags[1] += 1
    epoch, inject = net.flags[1], base + 2 * source
    first = reserve(net.packet, inject, ready_ps + config[INTERFACE_PS], flits)
    held = first
    for k in range(count):
        if masks[k, w] & token == np.uint64(0):
            continue
        hops = find_way(net, source, targets[k])
        way[hops] = base + 2 * targets[k] + 1
        # Back to where the tree is reserved already, then forwards again.
        hop = hops
        while hop >= 0 and net.mark[way[hop]] != epoch:
            hop -= 1
        start = first if hop < 0 else net.head[way[hop]]
        for step in range(hop + 1, hops + 1):
            link = way[step]
            start = reserve(net.packet, link, start + hop_ps, flits)
            held = max(held, start - (step + 1) * room_ps)
            net.head[link], net.mark[link] = start, epoch
        tail = start + span - config[CYCLE_PS] + link_ps
        if lasts_ps[k] == 0 or tail < firsts_ps[k]:
            firsts_ps[k] = tail
        lasts_ps[k] = max(lasts_ps[k], tail)
    if held > first:
        release(net.packet, inject, first + span, held + span)
