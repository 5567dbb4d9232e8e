"""Geometry of a network on chip: routers, nodes, links and XY routes.

A router has four links to its neighbours and `concentration` local ports. Nodes (tiles,
memory controllers, chip I/O) sit on a grid of their own, `width * local_width` by
`height * local_height`, numbered row by row; in a concentrated mesh each router serves a
`local_width` x `local_height` block of it, so that node coordinates stay physical ones.

Links are numbered: the outgoing link of router `r` in direction `d` (0 +x, 1 -x, 2 +y,
3 -y) is `4 r + d`; the injection link of node `n` is `4 R + n` and its ejection link
`4 R + N + n`, with R routers and N nodes. Outgoing links over the edge of a mesh have a
number but are never used.

Routing is dimension order, x first. In a torus the shorter way round is taken; where both
are equally long, packets leave even coordinates upwards and odd ones downwards.

Several chips have networks of their own that no route joins: their routers are numbered one
chip after the other, rows through, so that a router is at row r // width in all chips.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from numba import njit

from cimsim.errors import CimsimError, nearest
from cimsim.kernel_cache import cached

__all__ = [
    "EAST",
    "LOCAL",
    "NORTH",
    "SOUTH",
    "WEST",
    "NocKind",
    "NocShape",
    "neighbour",
    "next_direction",
    "node_port",
    "node_router",
    "route_length",
    "route_links",
    "router_distance",
]

NocKind = Literal["mesh", "torus", "cmesh"]

EAST, WEST, NORTH, SOUTH, LOCAL = 0, 1, 2, 3, 4
"""Directions +x, -x, +y, -y, and the first local port."""

# Indices of the geometry vector that the kernels take.
WRAP, WIDTH, HEIGHT, LOCAL_WIDTH, LOCAL_HEIGHT, NODES, ROUTERS = range(7)
MAX_ROUTERS = 1 << 20


@dataclass(frozen=True)
class NocShape:
    """The shape of a network on chip.

    Args:
        kind: `mesh`, `torus` (wrap-around links) or `cmesh` (several nodes a router).
        width: routers in x.
        height: routers in y.
        concentration: nodes a router; 1 unless `kind` is `cmesh`.
        chips: equal networks.

    Raises:
        CimsimError: on an unknown kind, a size below 1 or above 2**20 routers, or a
            concentration that does not go with the kind.
    """

    kind: NocKind
    width: int
    height: int
    concentration: int = 1
    chips: int = 1

    def __post_init__(self) -> None:
        kinds = get_args(NocKind)
        if self.kind not in kinds:
            raise CimsimError(
                "unknown network topology",
                key="noc.kind",
                value=self.kind,
                allowed=", ".join(kinds),
                hint=nearest(str(self.kind), kinds),
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
        if self.kind != "cmesh" and self.concentration != 1:
            raise CimsimError(
                f"a {self.kind} has one node a router",
                key="noc.concentration",
                value=self.concentration,
                allowed="1, or kind cmesh",
            )

    @property
    def routers(self) -> int:
        """Number of routers, over all chips."""
        return self.width * self.height * self.chips

    @property
    def nodes(self) -> int:
        """Number of nodes (network endpoints)."""
        return self.routers * self.concentration

    @property
    def links(self) -> int:
        """Number of link indices: router outputs, injection links, ejection links."""
        return 4 * self.routers + 2 * self.nodes

    @property
    def local_grid(self) -> tuple[int, int]:
        """Nodes of one router in x and y, as square as the concentration allows."""
        rows = isqrt(self.concentration)
        while self.concentration % rows:
            rows -= 1
        return self.concentration // rows, rows

    @property
    def node_grid(self) -> tuple[int, int]:
        """Nodes of the whole network in x and y."""
        local_width, local_height = self.local_grid
        return self.width * local_width, self.height * local_height

    def geometry(self) -> npt.NDArray[np.int64]:
        """Return the vector that the kernels take (see the index constants above)."""
        local_width, local_height = self.local_grid
        wrap = int(self.kind == "torus")
        return np.array(
            [wrap, self.width, self.height, local_width, local_height, self.nodes, self.routers],
            dtype=np.int64,
        )

    def link_index(self, router: int, direction: int) -> int:
        """Return the index of the link that leaves `router` in `direction` (0 to 3)."""
        return 4 * router + direction

    def injection_index(self, node: int) -> int:
        """Return the index of the link from `node` into its router."""
        return 4 * self.routers + node

    def ejection_index(self, node: int) -> int:
        """Return the index of the link from its router to `node`."""
        return 4 * self.routers + self.nodes + node

    def node_at(self, x: int, y: int) -> int:
        """Return the node at column `x` and row `y` of the node grid."""
        return y * self.node_grid[0] + x

    def link_name(self, link: int) -> str:
        """Return a readable name such as ``router (3,1) +x`` or ``node 12 out``."""
        if link < 4 * self.routers:
            router, direction = divmod(link, 4)
            chip, local = divmod(router, self.width * self.height)
            y, x = divmod(local, self.width)
            where = f"chip {chip} " if self.chips > 1 else ""
            return f"{where}router ({x},{y}) {('+x', '-x', '+y', '-y')[direction]}"
        node = link - 4 * self.routers
        return f"node {node} in" if node < self.nodes else f"node {node - self.nodes} out"


@cached
@njit()
def node_router(geometry: npt.NDArray[np.int64], node: int) -> int:
    """Return the router that serves `node`."""
    columns = geometry[WIDTH] * geometry[LOCAL_WIDTH]
    x = (node % columns) // geometry[LOCAL_WIDTH]
    y = (node // columns) // geometry[LOCAL_HEIGHT]
    return int(y * geometry[WIDTH] + x)


@cached
@njit()
def node_port(geometry: npt.NDArray[np.int64], node: int) -> int:
    """Return the local port (0 to concentration - 1) of `node` at its router."""
    columns = geometry[WIDTH] * geometry[LOCAL_WIDTH]
    x = (node % columns) % geometry[LOCAL_WIDTH]
    y = (node // columns) % geometry[LOCAL_HEIGHT]
    return int(y * geometry[LOCAL_WIDTH] + x)


@cached
@njit()
def next_direction(geometry: npt.NDArray[np.int64], router: int, target: int) -> int:
    """Return the direction of the next hop from `router` to `target`, LOCAL at the target."""
    width = geometry[WIDTH]
    here, there, size, axis = router % width, target % width, width, 0
    if here == there:
        here, there, size, axis = router // width, target // width, geometry[HEIGHT], 2
        if here == there:
            return LOCAL
    if geometry[WRAP] == 0:
        return int(axis if there > here else axis + 1)
    ahead = (there - here) % size
    if 2 * ahead == size:
        return int(axis + (here % size) % 2)
    return int(axis if 2 * ahead < size else axis + 1)


@cached
@njit()
def neighbour(geometry: npt.NDArray[np.int64], router: int, direction: int) -> int:
    """Return the router that the link in `direction` leads to (-1 over a mesh's edge)."""
    width, height = geometry[WIDTH], geometry[HEIGHT]
    local = router % (width * height)
    x, y = local % width, local // width
    if direction < 2:
        x += 1 - 2 * direction
    else:
        y += 1 - 2 * (direction - 2)
    if geometry[WRAP] == 0:
        if x < 0 or y < 0 or x >= width or y >= height:
            return -1
        return int(router - local + y * width + x)
    return int(router - local + (y % height) * width + x % width)


@cached
@njit()
def router_distance(geometry: npt.NDArray[np.int64], start: int, end: int) -> int:
    """Return the number of links between two routers of a chip on the XY route."""
    width, height = geometry[WIDTH], geometry[HEIGHT]
    dx = abs(end % width - start % width)
    dy = abs(end // width - start // width)
    if geometry[WRAP] != 0:
        dx = min(dx, width - dx)
        dy = min(dy, height - dy)
    return int(dx + dy)


@cached
@njit()
def route_length(geometry: npt.NDArray[np.int64], source: int, target: int) -> int:
    """Return the number of routers on the route between two nodes."""
    start, end = node_router(geometry, source), node_router(geometry, target)
    hops: int = router_distance(geometry, start, end)
    return hops + 1


def route_links(shape: NocShape, source: int, target: int) -> npt.NDArray[np.int64]:
    """Return the links from one node to another in order, injection and ejection included.

    Args:
        shape: the network.
        source: sending node.
        target: receiving node.
    """
    geometry = shape.geometry()
    router, end = node_router(geometry, source), node_router(geometry, target)
    links = [shape.injection_index(source)]
    while router != end:
        direction = next_direction(geometry, router, end)
        links.append(shape.link_index(router, direction))
        router = neighbour(geometry, router, direction)
    links.append(shape.ejection_index(target))
    return np.array(links, dtype=np.int64)
