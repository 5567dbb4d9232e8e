"""Trees of XY routes for the flit-level network: order of targets, legs of a reduction.

A multicast lists its targets so that those behind each output of each router on the way follow
each other; a branch is then a part of the list (`flit.fork`). A reduction is cut into *legs*:
packets from a source, or from the adder of a router where parts meet, to the next such router
or to the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.noc.shape import LOCAL, neighbour, next_direction, router_distance

__all__ = ["Leg", "Places", "reduction_legs", "spread_order"]

Int64 = NDArray[np.int64]
RANK_OF = (1, 2, 1, 2)
"""Rank of a direction among those of its dimension; 0 is for staying."""


@dataclass(frozen=True)
class Places:
    """Where nodes hang.

    Attributes:
        geometry: geometry vector of the network's shape.
        router: [nodes], router of every node.
        port: [nodes], its port there, `LOCAL` or more.
        adder: [routers], node that takes what an adder gets from port 0 of its router; those
            of the other ports follow. It also sends the adder's sums.
    """

    geometry: Int64
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

    Along x those nearest to the source come first, in each column those along y, nearest
    first, at each router those of its own ports. Outputs of a router come in the order local
    ports, +y, -y, +x, -x.

    Args:
        places: where nodes hang.
        source: sending node.
        targets: receiving nodes, each once.
    """
    geometry, start = places.geometry, places.router[source]
    width = int(geometry[1])

    def key(target: int) -> tuple[int, int, int, int, int]:
        end = places.router[target]
        corner = start - start % width + end % width
        along_x = next_direction(geometry, start, corner)
        along_y = next_direction(geometry, corner, end)
        return (
            0 if along_x == LOCAL else RANK_OF[along_x],
            router_distance(geometry, start, corner),
            0 if along_y == LOCAL else RANK_OF[along_y],
            router_distance(geometry, corner, end),
            places.port[target],
        )

    return sorted(targets, key=key)


def reduction_legs(places: Places, sources: Sequence[int], target: int) -> tuple[Leg, ...]:
    """Return the legs of a reduction: those of the sources, then adders', farthest first.

    Args:
        places: where nodes hang.
        sources: nodes that send a part each; one that occurs twice sends two.
        target: node that receives the sum.
    """
    geometry, end = places.geometry, places.router[target]
    parts: dict[int, int] = {}  # that come together at a router of the tree
    onward: dict[int, int] = {}  # direction in which they leave it
    for source in sources:
        router = places.router[source]
        parts[router] = parts.get(router, 0) + 1
        while router != end and router not in onward:
            onward[router] = next_direction(geometry, router, end)
            router = neighbour(geometry, router, onward[router])
            parts[router] = parts.get(router, 0) + 1
    adders = [router for router, count in parts.items() if count > 1]
    adders.sort(key=lambda router: (-router_distance(geometry, router, end), router))
    number = {router: len(sources) + k for k, router in enumerate(adders)}

    def leg(source: int, router: int, port: int, count: int) -> Leg:
        """Follow a packet that came into a router through a port (-1: from its adder)."""
        while router not in number or port < 0:
            if router == end:
                return Leg(source, target, -1, count)
            port = opposite(onward[router])
            router = neighbour(geometry, router, onward[router])
        return Leg(source, places.adder[router] + port, number[router], count)

    return (
        *(leg(source, places.router[source], places.port[source], 0) for source in sources),
        *(leg(places.adder[router], router, -1, parts[router]) for router in adders),
    )


def opposite(direction: int) -> int:
    """Return the port at the far end of a link in a direction."""
    return direction ^ 1
