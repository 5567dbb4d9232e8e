"""A topology of a user's own: hubs joined to each other, leaves with a tile each around them."""

from __future__ import annotations

import networkx as nx

from cimsim.chip import register_topology
from cimsim.config.section import Section, knob


class StarOptions(Section):
    """What the star reads."""

    hubs: int = knob(1, "Routers in the middle.", ge=1, le=16)


@register_topology("star", StarOptions)
def star(options: StarOptions, tiles: int) -> nx.Graph:
    """Join every leaf to a hub, in turn."""
    graph: nx.Graph = nx.complete_graph([f"hub {i}" for i in range(options.hubs)])
    for tile in range(tiles):
        graph.add_node(f"leaf {tile}", tiles=[tile])
        graph.add_edge(f"leaf {tile}", f"hub {tile % options.hubs}", length=2.0)
    return graph
