"""The network during a run: its state, its endpoints and what its links carried.

Endpoints are ports (tiles, digital units, memory channels, gateways), each with an injection
and an ejection link of its own, numbered behind the links between routers. Links between
chips come last.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.routes import LINKS, ROUTERS, WIDTH, fill_way
from cimsim.engine.noc.kernel import inner, kernel
from cimsim.engine.noc.packet import (
    BUSY_PS,
    CYCLE_PS,
    FLITS,
    PACKETS,
    PacketState,
    hold,
)

__all__ = [
    "FLIT_FS", "FS_PER_PS", "LATENCY_PS", "WORD_BITS", "Network", "count_bits", "count_tokens",
    "find_way", "first_port", "join_order", "set_tokens", "settle", "take_chip_link", "use_link",
]  # fmt: skip

WORD_BITS = 64
"""Tokens in a word of a set."""
# Entries of Network.between.
FLIT_FS, LATENCY_PS = range(2)
FS_PER_PS = 1000

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]


class Network(NamedTuple):
    """State of the network during a run, as arrays that the kernels change in place.

    Attributes:
        packet: link reservations and use.
        router: [ports], router of every endpoint.
        flags: [4], whether links are contended; scratch epoch; whether an uncontended route
            is taken in closed form (a grid of open rows); whether every flight is one
            token.
        mark: [links], epoch in which a link joined a tree.
        head, tail: [links], times of the train or vector on a link of a tree.
        union: [links, words], tokens that pass a link of a tree.
        path: [4, links], links of the way at hand; the link behind each in a tree; how many
            parts of a sum meet before it; the next link of a reduction that is as far from the
            target, or -1.
        order: [longest way and a port], a link of a reduction by the links between it and the
            target; -1 where there is none, and between two reductions.
        spans: [2, 4, rows + 1, width + 1], flits and packets that start (positive) or end
            (negative) to use links in a direction; only where links are not contended, see
            `settle`.
        chip: [ports], chip of every endpoint.
        gateway: [chips], port of every chip's gateway; of one chip its first port.
        after: [chips, chips], next chip on the way from one to another; of one chip an empty
            row, so that kernels of one chip have a type of their own and leave out what
            crosses chips (half of the time to compile them).
        chip_link: [chips, chips], link to take there, or -1.
        between: time of a flit on a link between chips in fs, and its latency in ps.
    """

    packet: PacketState
    router: Int64
    flags: Int64
    mark: Int64
    head: Int64
    tail: Int64
    union: UInt64
    path: Int64
    order: Int64
    spans: Int64
    chip: Int64
    gateway: Int64
    after: Int64
    chip_link: Int64
    between: Int64


def settle(net: Network) -> Int64:
    """Return the use of every link after a run, [links, 4] as in `PacketState.used`.

    Uncontended routes are only counted where they start and end; the sum along a row or
    column gives the use of each link.
    """
    used = net.packet.used.copy()
    if not net.flags[2]:
        return used
    geometry = net.packet.routes.geometry
    width = int(geometry[WIDTH])
    height = int(geometry[ROUTERS]) // width
    cycle = int(net.packet.config[CYCLE_PS])
    for direction in range(4):
        axis = 1 if direction < 2 else 0
        totals = net.spans[:, direction].cumsum(axis=axis + 1)[:, :height, :width]
        links = 4 * np.arange(width * height) + direction
        flits, packets = totals.reshape(2, -1)
        used[links, FLITS] += flits
        used[links, BUSY_PS] += flits * cycle
        used[links, PACKETS] += packets
    return used


@inner
def use_link(net: Network, link: int, ready_ps: int, flits: int) -> int:
    """Count the use of a link that nobody waits for; return when its head starts."""
    used = net.packet.used[link]
    used[BUSY_PS] += flits * net.packet.config[CYCLE_PS]
    used[FLITS] += flits
    used[PACKETS] += 1
    return int(ready_ps)


@inner
def take_chip_link(net: Network, link: int, first_ps: int, last_ps: int, flits: int, n: int) -> int:
    """Reserve a link between chips for a train; return when its last vector arrives.

    Args:
        net: the network.
        link: which.
        first_ps: when the first vector is ready at the sending chip.
        last_ps: when the last one is.
        flits: flits per vector.
        n: vectors.
    """
    one_ps = -(-flits * net.between[FLIT_FS] // FS_PER_PS)
    hold_ps = -(-n * flits * net.between[FLIT_FS] // FS_PER_PS)
    start = max(first_ps, last_ps - (hold_ps - one_ps))
    if net.flags[0] != 0:
        start = hold(net.packet, link, start, n * flits, hold_ps)
    else:
        used = net.packet.used[link]
        used[BUSY_PS] += hold_ps
        used[FLITS] += n * flits
        used[PACKETS] += 1
    return int(start + hold_ps + net.between[LATENCY_PS])


@inner
def set_tokens(rows: UInt64, row: int, tokens: UInt64) -> None:
    """Put a set of tokens into one of several."""
    # By hand: assigning an array to a row of another copies it first, lest they overlap.
    for w in range(tokens.size):
        rows[row, w] = tokens[w]


@kernel
def count_bits(word: np.uint64) -> int:
    """Return the number of tokens in a word of a set."""
    # Sums of bits in fields of 2, 4, 8 bits, then of all bytes at once by a product.
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    pairs = np.uint64(0x3333333333333333)
    word = (word & pairs) + ((word >> np.uint64(2)) & pairs)
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def count_tokens(words: UInt64) -> int:
    """Return the number of tokens in a set."""
    count = 0
    for i in range(words.size):
        count += count_bits(words[i])
    return count


@inner
def first_port(net: Network) -> int:
    """Return the number of the first link between a router and a port."""
    geometry = net.packet.routes.geometry
    return int(geometry[LINKS] * geometry[ROUTERS])


@inner
def find_way(net: Network, source: int, target: int) -> int:
    """Write the links between the routers of two ports into `net.path`; return how many."""
    way, routes = net.path[0], net.packet.routes
    return int(fill_way(routes, net.router[source], net.router[target], way))


@inner
def join_order(net: Network, link: int, hops: int) -> None:
    """Let a link join the order of a tree.

    Args:
        net: the network.
        link: new in the tree.
        hops: links between it and the target: all ways over it have as many.
    """
    net.path[3, link], net.order[hops] = net.order[hops], link
