"""Building networks: grids, a link between every two, graphs that a user lists.

Routes of a graph are those of least cost. Ties are broken by a digest of the ends of each link,
which makes them unique and spreads them; a part of a least-cost route is then itself one, so that
routes from a router form a tree, and those to a router too. `cimsim.chip.deadlock` spreads them
over layers of virtual channels.

To add a topology: a section with a `kind` of its own in `cimsim.config.noc`, and a builder here in
`BUILDERS`. A plug-in adds one from outside with `register_topology`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from math import ceil, inf, isqrt, sqrt
from typing import Any, TypeVar

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from cimsim.chip.deadlock import spread_layers
from cimsim.chip.topology import Topology, Wires
from cimsim.config.noc import AnyNoc, CmeshNoc, GraphNoc
from cimsim.config.section import Section
from cimsim.errors import CimsimError, nearest
from cimsim.registry import Registry

__all__ = ["build_topology", "register_topology", "system_topology", "wire"]

Int64 = NDArray[np.int64]
MAX_TABLED = 1 << 10
"""Most routers of a network with tables: those of a thousand take eight megabytes each."""


def build_topology(noc: AnyNoc, tiles: int, chips: int = 1) -> Topology:
    """Return the network of a configuration.

    Args:
        noc: what the user asked for.
        tiles: of one chip.
        chips: equal chips.

    Raises:
        CimsimError: if there is no such network.
    """
    return BUILDERS[noc.kind](noc, tiles, chips)


def system_topology(kind: str, chips: int) -> Topology:
    """Return the network that joins chips: router i is chip i.

    Gateways take in whole vectors and have room for them, so these routes cannot deadlock.

    Args:
        kind: mesh (as square as the number of chips allows, no row partly filled), ring or full.
        chips: how many.
    """
    if kind == "full":
        return _full(None, chips, 1)
    if kind == "ring":
        return Topology("ring", chips, 1)
    rows = isqrt(chips)
    while chips % rows:
        rows -= 1
    return Topology("mesh", chips // rows, rows)


def _grid(noc: Any, tiles: int, chips: int) -> Topology:
    """Return routers in a grid, as square as their number allows."""
    concentration = noc.concentration if isinstance(noc, CmeshNoc) else 1
    routers = ceil(tiles / concentration)
    width = ceil(sqrt(routers))
    return Topology(noc.kind, width, ceil(routers / width), concentration, chips)


def _ring(noc: Any, tiles: int, chips: int) -> Topology:
    return Topology(noc.kind, tiles, 1, 1, chips)


def _full(noc: Any, tiles: int, chips: int) -> Topology:
    """Return a link between every two of the routers of one tile each."""
    del noc
    _check_size("full", tiles)
    links = max(1, tiles - 1)
    start, end = np.divmod(np.arange(tiles * tiles, dtype=np.int64), tiles)
    link = np.where(start == end, -1, start * links + end - (end > start)).reshape(tiles, tiles)
    ends = np.full(tiles * links, -1, dtype=np.int64)
    ends[link[link >= 0]] = end.reshape(tiles, tiles)[link >= 0]
    width = ceil(sqrt(tiles))
    wires = Wires(
        names=tuple(map(str, range(tiles))),
        places=tuple((i % width, i // width) for i in range(tiles)),
        tiles=tuple((i,) for i in range(tiles)),
        hosts=((),) * tiles,
        ends=ends,
        onward=link,
        layer=np.zeros(tiles, dtype=np.int64),
        lengths=np.ones(tiles * links),
    )
    return Topology("full", width, ceil(tiles / width), 1, chips, wires)


def _graph(noc: Any, tiles: int, chips: int) -> Topology:
    """Return the network of nodes and edges that a user lists."""
    assert isinstance(noc, GraphNoc)  # noqa: S101 - chosen by kind
    graph: nx.Graph[str] = nx.Graph()
    for name, node in noc.nodes.items():
        graph.add_node(name, tiles=node.tiles, hosts=node.hosts, at=node.at)
    for edge in noc.edges:
        a, b = edge.between
        for end in edge.between:
            if end not in noc.nodes:
                raise _refusal(
                    f"the link between {a} and {b} ends at no node",
                    "edges", end, ", ".join(noc.nodes), nearest(end, noc.nodes),
                )  # fmt: skip
        if a == b or graph.has_edge(a, b):
            what = "joins a node to itself" if a == b else "is listed twice"
            raise _refusal(f"the link between {a} and {b} {what}", "edges", f"{a}, {b}")
        graph.add_edge(a, b, cost=edge.cost, length=edge.length)
    return wire(graph, tiles, chips, virtual_channels=noc.virtual_channels)


@dataclass(frozen=True)
class PluggedTopology:
    """A topology of a plug-in.

    Attributes:
        options: section that checks `noc.options`.
        build: options and tiles of a chip to a graph, as `wire` takes it.
    """

    options: type[Section]
    build: Callable[[Any, int], nx.Graph[str]]


_TOPOLOGIES: Registry[PluggedTopology] = Registry("topology", "noc.topology")
Build = TypeVar("Build", bound=Callable[[Any, int], Any])


def register_topology(name: str, options: type[Section]) -> Callable[[Build], Build]:
    """Register a topology under the name that `noc: {kind: plugin, topology: NAME}` gives.

    The decorated function takes the checked options and the number of tiles of a chip, and
    returns a networkx graph of routers by name, as `wire` takes it.

    Args:
        name: not registered yet.
        options: section of what `noc.options` may hold.
    """

    def add(build: Build) -> Build:
        _TOPOLOGIES.register(name)(PluggedTopology(options, build))
        return build

    return add


def _plugin(noc: Any, tiles: int, chips: int) -> Topology:
    """Return the network of a topology that a plug-in registered."""
    found = _TOPOLOGIES.named(noc.topology)
    try:
        options = found.options.model_validate(noc.options)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["options", *map(str, first["loc"])])
        raise _refusal(first["msg"], key, first["input"]) from error
    graph = found.build(options, tiles)
    _check_graph(graph)
    channels = noc.virtual_channels
    return wire(graph, tiles, chips, virtual_channels=channels, kind=noc.topology)


BUILDERS: dict[str, Callable[[Any, int, int], Topology]] = {
    "mesh": _grid,
    "torus": _grid,
    "cmesh": _grid,
    "ring": _ring,
    "full": _full,
    "graph": _graph,
    "plugin": _plugin,
}


def _refusal(
    message: str, key: str, value: object, allowed: str | None = None, hint: str | None = None
) -> CimsimError:
    return CimsimError(message, key=f"noc.{key}", value=value, allowed=allowed, hint=hint)


def _check_graph(graph: object) -> None:
    """Refuse what is no graph as `wire` takes it."""
    fault = None
    if not isinstance(graph, nx.Graph) or graph.is_directed():
        fault = "an undirected networkx graph of routers"
    elif not all(isinstance(name, str) and name.isprintable() for name in graph):
        fault = "routers by name, a printable text each"
    elif not all(_is_tiles(found) for _, found in graph.nodes(data="tiles", default=())):
        fault = "tiles of a node as a list of whole numbers"
    elif not all(_is_length(found) for *_, found in graph.edges(data="length", default=1.0)):
        fault = "lengths of edges as positive numbers"
    if fault is not None:
        raise CimsimError(
            "the topology of the plug-in builds another thing", key="noc.topology", allowed=fault
        )


def _is_tiles(found: object) -> bool:
    return isinstance(found, Iterable) and all(isinstance(t, int | np.integer) for t in found)


def _is_length(found: object) -> bool:
    return isinstance(found, int | float) and 0.0 < found < inf


def _check_size(kind: str, routers: int) -> None:
    if routers > MAX_TABLED:
        raise CimsimError(
            f"a network of kind {kind} has a table of all pairs of its routers, which are too many",
            key="noc.kind",
            value=f"{routers} routers",
            allowed=f"at most {MAX_TABLED} routers; a mesh, torus, cmesh or ring may be larger",
        )


def wire(
    graph: nx.Graph[str], tiles: int, chips: int = 1, *, virtual_channels: int, kind: str = "graph"
) -> Topology:
    """Return the network of a graph of routers, with least-cost routes free of deadlock.

    Args:
        graph: routers by name, in their order. Attributes of a node: `tiles` on it, and if given
            `hosts` and `at` (see `cimsim.config.noc.GraphNode`); of an edge, if given: `cost`, a
            whole number, and `length`.
        tiles: of one chip; nodes have 0 to tiles - 1, each once.
        chips: equal chips.
        virtual_channels: layers that routes may be spread over.
        kind: what the network is called.

    Raises:
        CimsimError: if tiles are missing or named twice, if the graph is not connected, or if
            its routes would wait in a circle.
    """
    names = tuple(graph)
    own = tuple(tuple(int(t) for t in graph.nodes[n].get("tiles", ())) for n in names)
    _check_size(kind, len(names))
    _check_tiles(names, own, tiles)
    _check_connected(graph)
    places = _places([graph.nodes[n].get("at") for n in names], names)
    index = {name: i for i, name in enumerate(names)}
    neighbours = [sorted(index[m] for m in graph[n]) for n in names]
    links = max(1, *map(len, neighbours))
    ends = np.full((len(names), links), -1, dtype=np.int64)
    lengths = np.ones((len(names), links))
    for router, found in enumerate(neighbours):
        ends[router, : len(found)] = found
        for k, end in enumerate(found):
            lengths[router, k] = graph.edges[names[router], names[end]].get("length", 1.0)
    onward, inward = _least_cost(graph, names, neighbours, links)
    layer = spread_layers(names, ends.ravel(), inward, virtual_channels)
    wires = Wires(
        names, places, own, tuple(tuple(graph.nodes[n].get("hosts", ())) for n in names),
        ends.ravel(), onward, layer, lengths.ravel(),
    )  # fmt: skip
    width, height = (1 + max(axis) for axis in zip(*places, strict=True))
    return Topology(kind, width, height, max(1, *map(len, own)), chips, wires)


def _check_tiles(names: Sequence[str], own: Sequence[Sequence[int]], tiles: int) -> None:
    """Refuse a tile that is on two nodes, on none, or not of the chip."""
    seen: dict[int, str] = {}
    for name, found in zip(names, own, strict=True):
        for tile in found:
            if tile in seen:
                raise _refusal(
                    f"tile {tile} is on two nodes: {seen[tile]} and {name}", "nodes", tile
                )
            seen[tile] = name
    missing = sorted(set(range(tiles)) - seen.keys())
    beyond = sorted(seen.keys() - set(range(tiles)))
    if missing or beyond:
        what = f"tile {missing[0]} is on no node" if missing else (
            f"node {seen[beyond[0]]} has tile {beyond[0]}")  # fmt: skip
        raise _refusal(what, "nodes", f"{len(seen)} tiles", f"tiles 0 to {tiles - 1}, each once")


def _check_connected(graph: nx.Graph[str]) -> None:
    parts = [list(part) for part in nx.connected_components(graph)]
    if len(parts) > 1:
        a, b = (", ".join(sorted(part)[:4]) for part in parts[:2])
        raise _refusal(
            f"the network is not connected: no links lead from {a} to {b}",
            "edges", f"{len(parts)} separate parts", "a connected network",
        )  # fmt: skip


def _places(
    given: list[tuple[int, int] | None], names: Sequence[str]
) -> tuple[tuple[int, int], ...]:
    """Return the column and row of every router; those without take the next free place."""
    width = ceil(sqrt(len(given)))
    taken: dict[tuple[int, int], str] = {}
    for at, name in zip(given, names, strict=True):
        if at is not None:
            if min(at) < 0 or at in taken:
                other = f", where {taken[at]} is" if at in taken else ""
                raise _refusal(f"node {name} cannot be drawn at {list(at)}{other}", "nodes", name)
            taken[at] = name
    squares = ((i % width, i // width) for i in count())
    free = (at for at in squares if at not in taken)
    return tuple(next(free) if at is None else at for at in given)


def _least_cost(
    graph: nx.Graph[str], names: Sequence[str], neighbours: list[list[int]], links: int
) -> tuple[Int64, Int64]:
    """Return the first link from every router to every other, and the last one."""
    n, index = len(names), {name: i for i, name in enumerate(names)}
    number = {(a, b): a * links + k for a in range(n) for k, b in enumerate(neighbours[a])}

    def cost(a: str, b: str, edge: dict[str, Any]) -> int:
        low, high = sorted((index[a], index[b]))  # both ways alike: distances are symmetric
        digest = blake2b(f"{low} {high}".encode(), digest_size=6).digest()
        return (int(edge.get("cost", 1)) << 64) + int.from_bytes(digest)

    onward, inward = np.full((n, n), -1, dtype=np.int64), np.full((n, n), -1, dtype=np.int64)
    for source in range(n):
        before, far = nx.dijkstra_predecessor_and_distance(graph, names[source], weight=cost)
        for name in sorted(far, key=far.__getitem__)[1:]:
            router, last = index[name], index[before[name][0]]
            inward[source, router] = number[last, router]
            first = number[last, router] if last == source else onward[source, last]
            onward[source, router] = first
    return onward, inward
