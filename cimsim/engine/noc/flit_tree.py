"""Trees of routes for the flit-level network: order of targets, legs of a reduction.

A multicast lists its targets so that those behind each output of each router on the way follow
each other; a branch is then a part of the list (`flit.fork`). A reduction is cut into *legs*:
packets from a source, or from the adder of a router where parts meet, to the next such router
or to the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cimsim.chip.topology import Topology

__all__ = ["Leg", "Places", "reduction_legs", "spread_order"]


@dataclass(frozen=True)
class Places:
    """Where nodes hang.

    Attributes:
        shape: the network.
        router: [nodes], router of every node.
        port: [nodes], its port there, behind those of links.
        adder: [routers], node that takes what an adder gets from port 0 of its router; those
            of the other ports follow. It also sends the adder's sums.
    """

    shape: Topology
    router: tuple[int, ...]
    port: tuple[int, ...]
    adder: tuple[int, ...] = ()


@dataclass(frozen=True)
class Leg:
    """One hop of a reduction from adder to adder.

    Attributes:
        source: sending node: a source, or an adder.
        target: receiving node: an adder, or the target of the sum.
        into: index of the leg that starts at that adder, or -1 for the last.
        parts: what the adder that starts it waits for; 0 for a source.
    """

    source: int
    target: int
    into: int
    parts: int


def spread_order(places: Places, source: int, targets: Sequence[int]) -> list[int]:
    """Return the targets of a multicast in the order that `flit` wants.

    That of their routes, port by port: at each router those of its own ports come first, then
    its links from the third on, then the first two (in a grid +y, -y, +x, -x).

    Args:
        places: where nodes hang.
        source: sending node.
        targets: receiving nodes, each once.
    """
    shape, start = places.shape, places.router[source]
    links = shape.router_links

    def key(target: int) -> tuple[int, ...]:
        way = shape.path(start, places.router[target])
        # A port of the router has a rank below those of links.
        return (*(1 + (link % links - 2) % links for link in way), places.port[target] - (1 << 30))

    return sorted(targets, key=key)


def reduction_legs(places: Places, sources: Sequence[int], target: int) -> tuple[Leg, ...]:
    """Return the legs of a reduction: those of the sources, then adders', farthest first.

    Args:
        places: where nodes hang.
        sources: nodes that send a part each; one that occurs twice sends two.
        target: node that receives the sum.
    """
    shape, end = places.shape, places.router[target]
    parts: dict[int, int] = {}  # that come together at a router of the tree
    onward: dict[int, int] = {}  # link by which they leave it
    for source in sources:
        router = places.router[source]
        parts[router] = parts.get(router, 0) + 1
        while router != end and router not in onward:
            onward[router] = shape.next_link(router, end)
            router = shape.link_end(onward[router])
            parts[router] = parts.get(router, 0) + 1
    adders = [router for router, count in parts.items() if count > 1]
    adders.sort(key=lambda router: (-shape.distance(router, end), router))
    number = {router: len(sources) + k for k, router in enumerate(adders)}

    def leg(source: int, router: int, port: int, count: int) -> Leg:
        """Follow a packet that came into a router through a port (-1: from its adder)."""
        while router not in number or port < 0:
            if router == end:
                return Leg(source, target, -1, count)
            port = shape.reverse(onward[router]) % shape.router_links
            router = shape.link_end(onward[router])
        return Leg(source, places.adder[router] + port, number[router], count)

    return (
        *(leg(source, places.router[source], places.port[source], 0) for source in sources),
        *(leg(places.adder[router], router, -1, parts[router]) for router in adders),
    )
