"""The network of a chip: which router is joined to which, how packets travel, where it is drawn.

Next hop, distance, numbers and names of links, and places of routers come from here. A *grid*
(mesh, torus, concentrated mesh, ring) is described by its columns and rows, with routes in closed
form; every other network has tables, which `cimsim.chip.networks` makes of a networkx graph.
Kernels take both as `cimsim.chip.routes.Routes`. Chips of a system are joined by networks of the
same kinds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import isqrt

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from cimsim.chip.routes import (
    ALTERNATE,
    UPWARDS,
    WRAP,
    Routes,
    fill_distances,
    fill_next,
    fill_way,
    link_end,
    longest_way,
    next_link,
    router_distance,
)
from cimsim.errors import CimsimError, nearest

__all__ = ["GRIDS", "Topology", "Wires", "read_direction"]

Int64 = NDArray[np.int64]
GRIDS = ("mesh", "torus", "cmesh", "ring")
MAX_ROUTERS = 1 << 20
MAX_TABLED = 1 << 10
"""Most routers of a network with tables: those of a thousand take eight megabytes each."""
DIRECTIONS = ("+x", "-x", "+y", "-y")
PATHS = 1 << 16
"""Routes that are kept."""


@dataclass(frozen=True, eq=False)
class Wires:
    """One chip's routers, links and routes, where they are no grid.

    Attributes:
        names: [routers].
        places: [routers], column and row of each.
        tiles: [routers], tiles on each.
        hosts: [routers], what else may be on each: digital, memory, gateway.
        ends: [routers x links], router at the end of a link, or -1.
        onward: [routers, routers], link from one on the way to another, -1 to itself.
        layer: [routers], class of virtual channels of packets from each.
        lengths: [routers x links], over that of a link of a mesh.
    """

    names: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    tiles: tuple[tuple[int, ...], ...]
    hosts: tuple[tuple[str, ...], ...]
    ends: Int64
    onward: Int64
    layer: Int64
    lengths: NDArray[np.float64]


@dataclass(frozen=True)
class Topology:
    """A network, or equal networks of several chips that no route joins.

    Args:
        kind: mesh, torus, cmesh, ring, or what a network with tables is called.
        width: columns of routers on a chip.
        height: rows of routers on a chip.
        concentration: nodes per router, at most; 1 in a grid that is no cmesh.
        chips: equal networks.
        wires: routers and routes, where they are no grid.

    Raises:
        CimsimError: on an unknown kind, a size below 1 or above 2**20 routers, or a
            concentration that does not go with the kind.
    """

    kind: str
    width: int
    height: int
    concentration: int = 1
    chips: int = 1
    wires: Wires | None = None

    def __post_init__(self) -> None:
        if self.wires is None and self.kind not in GRIDS:
            raise CimsimError(
                "unknown network topology",
                key="noc.kind",
                value=self.kind,
                allowed=", ".join(GRIDS),
                hint=nearest(str(self.kind), GRIDS),
            )
        for name in ("width", "height", "concentration", "chips"):
            if getattr(self, name) < 1:
                raise CimsimError(
                    "a network needs at least one router and one node",
                    key=f"noc.{name}",
                    value=getattr(self, name),
                    allowed="1 or more",
                )
        if self.routers > MAX_ROUTERS:
            raise CimsimError(
                "the network has too many routers",
                key="noc.width",
                value=self.routers,
                allowed=f"at most {MAX_ROUTERS} routers",
            )
        if self.wires is None and self.kind != "cmesh" and self.concentration != 1:
            raise CimsimError(
                f"a {self.kind} has one node per router",
                key="noc.concentration",
                value=self.concentration,
                allowed="1, or kind cmesh",
            )
        if self.kind == "ring" and self.wires is None and self.height != 1:
            raise CimsimError(
                "a ring has one row of routers", key="noc.height", value=self.height, allowed="1"
            )

    # ------------------------------------------------------------------ sizes

    @property
    def chip_routers(self) -> int:
        """Routers of one chip."""
        return self.width * self.height if self.wires is None else len(self.wires.names)

    @property
    def routers(self) -> int:
        """Routers of all chips."""
        return self.chip_routers * self.chips

    @property
    def router_links(self) -> int:
        """Numbers of links that a router has to others; the first local port comes after."""
        return 4 if self.wires is None else len(self.wires.ends) // len(self.wires.names)

    @property
    def router_ports(self) -> float:
        """Ports of a router, the mean over routers: to others, and to tiles."""
        if self.wires is None:
            return (2 if self.kind == "ring" else 4) + self.concentration
        tiles = sum(map(len, self.wires.tiles))
        return (int((self.wires.ends >= 0).sum()) + tiles) / self.chip_routers

    @property
    def nodes(self) -> int:
        """Nodes of the network (endpoints): tiles, or `concentration` a router of a grid."""
        if self.wires is None:
            return self.routers * self.concentration
        return self.chips * sum(map(len, self.wires.tiles))

    @property
    def links(self) -> int:
        """Link numbers: links of routers, then injection links, then ejection links."""
        return self.router_links * self.routers + 2 * self.nodes

    @property
    def classes(self) -> int:
        """Classes of virtual channels that keep packets from waiting in a circle."""
        if self.wires is None:
            return 2 if self.kind in {"torus", "ring"} else 1
        return 1 + int(self.wires.layer.max(initial=0))

    @property
    def is_open_grid(self) -> bool:
        """Whether it is a grid without wrap-around links, so that rows and columns are lines."""
        return self.wires is None and self.kind in {"mesh", "cmesh"}

    # ------------------------------------------------------------------ routes

    @cached_property
    def routes(self) -> Routes:
        """Routes as kernels take them."""
        wrap = {"torus": ALTERNATE, "ring": UPWARDS}.get(self.kind, 0) if not self.wires else 0
        sizes = (wrap, self.width, self.height, self.routers, self.chip_routers)
        geometry = np.array([*sizes, self.router_links, self.classes], dtype=np.int64)
        if self.wires is None:
            table, line = np.zeros((0, 0), np.int64), np.zeros(0, np.int64)
            return Routes(geometry, table, line, line)
        own = self.wires
        return Routes(geometry, own.onward, own.ends, own.layer)

    def next_link(self, router: int, target: int) -> int:
        """Return the link that a packet to a router takes at another, -1 at the target."""
        return int(next_link(self.routes, router, target))

    def link_end(self, link: int) -> int:
        """Return the router that a link leads to, -1 over a mesh's edge."""
        return int(link_end(self.routes, link))

    def distance(self, start: int, end: int) -> int:
        """Return the links on the way from one router of a chip to another."""
        return int(router_distance(self.routes, start, end))

    def path(self, start: int, end: int) -> tuple[int, ...]:
        """Return the links from one router of a chip to another, in order."""
        return _path(self, start, end)

    def reverse(self, link: int) -> int:
        """Return the link that leads back."""
        end, start = self.link_end(link), link // self.router_links
        if self.wires is None:
            return 4 * end + (link % 4 ^ 1)
        first = end - end % self.chip_routers
        own = self.wires.ends.reshape(-1, self.router_links)[end - first]
        return end * self.router_links + int(np.flatnonzero(own == start - first)[0])

    def distances(self, routers: Int64) -> NDArray[np.signedinteger]:
        """Return the links between some routers of a chip, [n, n].

        In numbers of two bytes, where these hold the longest way there and back: the table of a
        chip of 19,000 tiles then takes 0.7 GB and not 3 GB.
        """
        short = 2 * longest_way(self.routes) <= np.iinfo(np.int16).max
        table = np.empty((len(routers), len(routers)), dtype=np.int16 if short else np.int64)
        if self.wires is not None:
            fill_distances(self.routes, routers, table)
            return table
        # In a grid they are columns and rows apart, as `router_distance` says of two of them.
        row, column = np.divmod(routers, self.width)
        row %= self.height  # rows of several chips are numbered through
        across = self._apart(self.width, column).astype(table.dtype)
        down = self._apart(self.height, row).astype(table.dtype)
        for i in range(len(routers)):
            np.add(across[column[i]], down[row[i]], out=table[i])
        return table

    def _apart(self, size: int, places: Int64) -> Int64:
        """Return how far places on a line or ring are from each of its, [size, n]."""
        apart: Int64 = np.abs(np.arange(size)[:, np.newaxis] - places)
        return np.minimum(apart, size - apart) if self.routes.geometry[WRAP] else apart

    def next_routers(self) -> Int64:
        """Return the router after each on the way to each other of one chip, [r, r]."""
        table = np.zeros((self.chip_routers, self.chip_routers), dtype=np.int64)
        fill_next(self.routes, table)
        return table

    @cached_property
    def graph(self) -> nx.DiGraph[int]:
        """Routers joined by links, with the number of each link."""
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(range(self.routers))
        for link in range(self.routers * self.router_links):
            start, end = link // self.router_links, self.link_end(link)
            if end >= 0 and end != start:
                graph.add_edge(start, end, link=link)
        return graph

    # ------------------------------------------------------------------ places and names

    @property
    def local_grid(self) -> tuple[int, int]:
        """Nodes of one router in x and y, as square as the concentration allows."""
        rows = isqrt(self.concentration)
        while self.concentration % rows:
            rows -= 1
        return self.concentration // rows, rows

    @property
    def node_grid(self) -> tuple[int, int]:
        """Nodes of the whole network in x and y; those of a network with tables are a row."""
        if self.wires is not None:
            return self.nodes, 1
        across, down = self.local_grid
        return self.width * across, self.height * down

    @cached_property
    def node_routers(self) -> Int64:
        """Router of every node, [nodes].

        In a grid, nodes are numbered row by row over the whole chip, and a router serves a block
        of `local_grid`; else node i is tile i.
        """
        if self.wires is not None:
            return np.concatenate(
                [chip * self.chip_routers + self._tile_routers for chip in range(self.chips)]
            )
        across, down = self.local_grid
        columns = self.width * across
        node = np.arange(self.nodes, dtype=np.int64)
        return node // columns // down * self.width + node % columns // across

    @cached_property
    def node_ports(self) -> Int64:
        """Local port of every node at its router, from 0, [nodes]."""
        if self.wires is not None:
            ports = [self.wires.tiles[r].index(i) for i, r in enumerate(self._tile_routers)]
            return np.tile(np.array(ports, dtype=np.int64), self.chips)
        across, down = self.local_grid
        columns = self.width * across
        node = np.arange(self.nodes, dtype=np.int64)
        return node // columns % down * across + node % columns % across

    @cached_property
    def _tile_routers(self) -> Int64:
        """Router of every tile of a chip with tables."""
        assert self.wires is not None  # noqa: S101 - asked only of those
        pairs = sorted((tile, r) for r, own in enumerate(self.wires.tiles) for tile in own)
        return np.array([r for _, r in pairs], dtype=np.int64)

    def router_of_tile(self, tile: int) -> int:
        """Return the router on its chip of a tile of the chip."""
        if self.wires is not None:
            return int(self._tile_routers[tile])
        return tile // self.concentration

    def hosts(self, what: str, count: int) -> list[int]:
        """Return the routers of a chip's digital units, memory channels or gateway.

        In a grid of rows, memory channels are along the west edge and the gateway is in the
        middle of the east edge. All else is spread evenly over the routers, or over the nodes of
        a graph that say so.

        Args:
            what: digital, memory or gateway.
            count: how many of them one chip has.
        """
        if self.wires is None and self.kind != "ring" and what == "memory":
            return [(2 * i + 1) * self.height // (2 * count) * self.width for i in range(count)]
        if self.wires is None and self.kind != "ring" and what == "gateway":
            return [self.height // 2 * self.width + self.width - 1]
        where = list(range(self.chip_routers))
        if self.wires is not None:
            where = [r for r, own in enumerate(self.wires.hosts) if what in own] or where
        return [where[(2 * i + 1) * len(where) // (2 * count)] for i in range(count)]

    def position(self, router: int) -> tuple[int, int]:
        """Return column and row of a router on its chip."""
        local = router % self.chip_routers
        if self.wires is not None:
            return self.wires.places[local]
        return local % self.width, local // self.width

    def direction(self, link: int) -> str:
        """Return which way a link is drawn: +x, -x, +y, -y, or columns and rows as +2x-1y."""
        if self.wires is None:
            return DIRECTIONS[link % 4]
        ax, ay = self.position(link // self.router_links)
        bx, by = self.position(self.link_end(link))
        parts = [f"{d:+d}{axis}" for d, axis in ((bx - ax, "x"), (by - ay, "y")) if d]
        return re.sub(r"(?<=[+-])1(?=[xy])", "", parts[0]) if len(parts) == 1 else "".join(parts)

    def router_name(self, router: int) -> str:
        """Return the name of a router, or its place in a grid."""
        if self.wires is not None:
            return self.wires.names[router % self.chip_routers]
        x, y = self.position(router)
        return f"({x},{y})"

    def link_name(self, link: int) -> str:
        """Return a name such as ``router (3,1) +x``, ``router a to b`` or ``node 12 out``."""
        ports = self.router_links * self.routers
        if link >= ports:
            node = link - ports
            return f"node {node} in" if node < self.nodes else f"node {node - self.nodes} out"
        router = link // self.router_links
        where = f"chip {router // self.chip_routers} " if self.chips > 1 else ""
        end = f"to {self.router_name(self.link_end(link))}" if self.wires else self.direction(link)
        return f"{where}router {self.router_name(router)} {end}"

    def link_lengths(self) -> NDArray[np.float64] | None:
        """Return lengths of links over that of a mesh, [routers x links]; None where all are 1."""
        if self.wires is None or bool(np.all(self.wires.lengths == 1.0)):
            return None
        return np.tile(self.wires.lengths, self.chips)


@lru_cache(PATHS)
def _path(network: Topology, start: int, end: int) -> tuple[int, ...]:
    way = np.zeros(longest_way(network.routes), dtype=np.int64)
    return tuple(way[: fill_way(network.routes, start, end, way)].tolist())


def read_direction(text: str) -> tuple[int, int]:
    """Return columns and rows that a link spans, from the text of `Topology.direction`."""
    found = {axis: int(f"{sign}{size or 1}") for sign, size, axis in re.findall(
        r"([+-])(\d*)([xy])", text)}  # fmt: skip
    return found.get("x", 0), found.get("y", 0)
