"""Deadlock: which channels packets hold and wait for, and layers of channels without a circle.

Routes are free of deadlock if the graph of channel dependencies has no cycle (Dally and Seitz,
IEEE Transactions on Computers C-36(5), 1987). Dimension order has none in a mesh, and none in a
torus or ring with two classes of virtual channels, before and behind the dateline. Least-cost
routes of a graph may have some. As in LASH (Skeie, Lysne and Theiss, IPDPS 2002) they are spread
over *layers* of virtual channels, each without a cycle. LASH gives every pair a layer; here all
routes from a router share one, since a multicast is one packet. A graph that needs more layers than
it has virtual channels is refused with a cycle.
"""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from cimsim.chip.routes import channel_class
from cimsim.chip.topology import Topology
from cimsim.errors import CimsimError

__all__ = ["channel_dependencies", "find_cycle", "spread_layers"]

Int64 = NDArray[np.int64]


def spread_layers(names: Sequence[str], ends: Int64, inward: Int64, most: int) -> Int64:
    """Return a layer of virtual channels for every router, so that no layer has a cycle.

    Args:
        names: of routers.
        ends: [routers x links], router at the end of a link, or -1.
        inward: [routers, routers], link by which the way from one enters another, -1 of itself.
        most: virtual channels of a port.

    Raises:
        CimsimError: if that takes more than `most` layers.
    """
    links = len(ends) // len(names)
    before = np.where(inward >= 0, inward // links, 0)
    held = np.where(inward >= 0, np.take_along_axis(inward, before, axis=1), -1)
    waits = [
        list(zip(held[s, held[s] >= 0].tolist(), inward[s, held[s] >= 0].tolist(), strict=True))
        for s in range(len(names))
    ]
    layer = np.zeros(len(names), dtype=np.int64)
    whole: nx.DiGraph[int] = nx.DiGraph(pair for pairs in waits for pair in pairs)
    if nx.is_directed_acyclic_graph(whole):
        return layer
    layers: list[nx.DiGraph[int]] = []
    for source, pairs in enumerate(waits):
        for k in range(most):
            if k == len(layers):
                layers.append(nx.DiGraph())
            new = [pair for pair in pairs if not layers[k].has_edge(*pair)]
            layers[k].add_edges_from(new)
            if nx.is_directed_acyclic_graph(layers[k]):
                layer[source] = k
                break
            cycle = nx.find_cycle(layers[k])
            layers[k].remove_edges_from(new)
        else:
            way = [names[link // links] for link, _ in cycle]
            raise CimsimError(
                "packets could wait for each other in a circle of links: "
                f"{' > '.join([*way, way[0]])}",
                key="noc.virtual_channels",
                value=most,
                allowed="more of them, one for each layer of routes",
                hint="or leave out a link of the circle, or raise its cost",
            )
    return layer


def channel_dependencies(network: Topology) -> nx.DiGraph[tuple[int, int]]:
    """Return which channel a packet holds while it waits for which, over all routes of a chip.

    Nodes are (link, class of virtual channels).
    """
    graph: nx.DiGraph[tuple[int, int]] = nx.DiGraph()
    routers = range(network.chip_routers)
    for source in routers:
        for target in routers:
            way = network.path(source, target)
            channels = [(link, channel_class(network.routes, source, link)) for link in way]
            nx.add_path(graph, channels)
    return graph


def find_cycle(network: Topology) -> tuple[str, ...]:
    """Return links that packets could wait for in a circle, by name; empty where there is none."""
    try:
        cycle = nx.find_cycle(channel_dependencies(network))
    except nx.NetworkXNoCycle:
        return ()
    return tuple(network.link_name(held[0]) for held, *_ in cycle)
