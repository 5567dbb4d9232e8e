"""The links of whole ways between nodes, for tests: injection and ejection included."""

from __future__ import annotations

from cimsim.chip.topology import Topology

__all__ = ["route_length", "route_links"]


def route_links(shape: Topology, source: int, target: int) -> list[int]:
    """Return the links from one node to another in order."""
    first = shape.router_links * shape.routers
    ends = (int(shape.node_routers[source]), int(shape.node_routers[target]))
    return [first + source, *shape.path(*ends), first + shape.nodes + target]


def route_length(shape: Topology, source: int, target: int) -> int:
    """Return the routers on the way from one node to another."""
    return len(route_links(shape, source, target)) - 1
