"""The chip as a graph: tiles on routers, digital units and memory channels at the edge.

Tiles are numbered row by row: tile i is at (x, y) = (i % width, i // width). In a
concentrated mesh `concentration` neighbouring tiles share a router. Digital units and
memory channels sit on routers of their own choice: digital units spread evenly over the
mesh, memory channels along its west edge.

A system of several chips repeats one chip: tiles, routers, digital units and channels of
chip 0 come first, then those of chip 1, ... Rows of routers are numbered through, so that
chip c has rows c x height to (c + 1) x height - 1. Every chip has one *gateway* to the
links between chips, on the router in the middle of its east edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from cimsim.chip.chip_links import chip_links
from cimsim.config import ChipConfig
from cimsim.errors import CimsimError

__all__ = ["ChipMesh", "build_mesh"]


@dataclass(frozen=True)
class ChipMesh:
    """Geometry of a chip, or of a system of equal chips.

    Attributes:
        kind: mesh, torus or cmesh.
        width: routers in x, of one chip.
        height: routers in y, of one chip.
        concentration: tiles a router.
        n_tiles: tiles of all chips; the last row of a chip may be partly filled.
        crossbars_per_tile: crossbars in a tile.
        n_digital: digital units of all chips.
        n_channels: memory channels of all chips.
        chips: chips of the system.
        topology: how chips are joined: mesh, ring or full.
    """

    kind: str
    width: int
    height: int
    concentration: int
    n_tiles: int
    crossbars_per_tile: int
    n_digital: int
    n_channels: int
    chips: int = 1
    topology: str = "mesh"

    @property
    def chip_routers(self) -> int:
        """Routers of one chip."""
        return self.width * self.height

    @property
    def chip_tiles(self) -> int:
        """Tiles of one chip."""
        return self.n_tiles // self.chips

    @property
    def n_routers(self) -> int:
        """Routers of all chips."""
        return self.chips * self.chip_routers

    def chip_of_tile(self, tile: int) -> int:
        """Chip that a tile is on."""
        return tile // self.chip_tiles

    def router_of_tile(self, tile: int) -> int:
        """Router that a tile hangs on."""
        chip, local = divmod(tile, self.chip_tiles)
        return chip * self.chip_routers + local // self.concentration

    @cached_property
    def router_of_digital(self) -> tuple[int, ...]:
        """Router of every digital unit: evenly spread over a chip in router order."""
        routers, units = self.chip_routers, self.n_digital // self.chips
        return self._on_all_chips([(2 * i + 1) * routers // (2 * units) for i in range(units)])

    @cached_property
    def router_of_channel(self) -> tuple[int, ...]:
        """Router of every memory channel: along the west edge, top to bottom."""
        channels = self.n_channels // self.chips
        rows = [(2 * i + 1) * self.height // (2 * channels) for i in range(channels)]
        return self._on_all_chips([row * self.width for row in rows])

    @cached_property
    def router_of_gateway(self) -> tuple[int, ...]:
        """Router of every chip's gateway: the middle of its east edge."""
        return self._on_all_chips([(self.height // 2) * self.width + self.width - 1])

    def _on_all_chips(self, routers: list[int]) -> tuple[int, ...]:
        return tuple(
            chip * self.chip_routers + router for chip in range(self.chips) for router in routers
        )

    def position(self, router: int) -> tuple[int, int]:
        """Coordinates (x, y) of a router; rows of all chips are numbered through."""
        return router % self.width, router // self.width

    def hops(self, a: int, b: int) -> int:
        """Links on the XY route between two routers of one chip."""
        ax, ay = self.position(a)
        bx, by = self.position(b)
        dx, dy = abs(ax - bx), abs(ay - by)
        if self.kind == "torus":
            dx, dy = min(dx, self.width - dx), min(dy, self.height - dy)
        return dx + dy

    @cached_property
    def tile_hops(self) -> NDArray[np.int64]:
        """Hops between the routers of every two tiles of a chip, [chip tiles, chip tiles]."""
        router = np.arange(self.chip_tiles) // self.concentration
        x, y = router % self.width, router // self.width
        dx, dy = np.abs(x[:, None] - x[None, :]), np.abs(y[:, None] - y[None, :])
        if self.kind == "torus":
            dx, dy = np.minimum(dx, self.width - dx), np.minimum(dy, self.height - dy)
        hops: NDArray[np.int64] = (dx + dy).astype(np.int64)
        return hops

    @cached_property
    def graph(self) -> nx.Graph[tuple[str, int]]:
        """The chip as a graph with nodes ('router', i), ('tile', i), ('digital', i), ...

        Edges between routers are links; the others are local ports.
        """
        graph: nx.Graph[tuple[str, int]] = nx.Graph()
        for router in range(self.n_routers):
            x, y = self.position(router)
            graph.add_node(("router", router), x=x, y=y)
        for router in range(self.n_routers):
            chip, local = divmod(router, self.chip_routers)
            x, y = self.position(local)
            for nx_, ny_, edge in ((x + 1, y, x + 1 < self.width), (x, y + 1, y + 1 < self.height)):
                wraps = self.kind == "torus" and not edge
                if edge or wraps:
                    other = (ny_ % self.height) * self.width + nx_ % self.width
                    if other != local:
                        ends = ("router", router), ("router", chip * self.chip_routers + other)
                        graph.add_edge(*ends, port="link")
        for tile in range(self.n_tiles):
            graph.add_edge(("tile", tile), ("router", self.router_of_tile(tile)), port="local")
        for i, router in enumerate(self.router_of_digital):
            graph.add_edge(("digital", i), ("router", router), port="local")
        for i, router in enumerate(self.router_of_channel):
            graph.add_edge(("memory", i), ("router", router), port="local")
        if self.chips > 1:
            for chip, router in enumerate(self.router_of_gateway):
                graph.add_edge(("gateway", chip), ("router", router), port="local")
            for a, b in chip_links(self.topology, self.chips):
                graph.add_edge(("gateway", a), ("gateway", b), port="chip_link")
        return graph


def build_mesh(config: ChipConfig, crossbars_needed: int) -> ChipMesh:
    """Lay out the chip: the given tile count, or the smallest mesh that fits.

    Args:
        config: the chip.
        crossbars_needed: crossbars that hold every analog matrix of one chip once (see
            `cimsim.chip.system.build_system` for several chips).

    Raises:
        CimsimError: if the chip is too small and may not switch experts.
    """
    per_tile = config.tile.crossbars
    concentration = config.noc.concentration if config.noc.kind == "cmesh" else 1
    if config.chip.tiles == "fit":
        wanted = ceil(crossbars_needed * (1.0 + config.chip.spare_fraction))
        n_tiles = max(1, ceil(wanted / per_tile))
    else:
        n_tiles = config.chip.tiles
    if n_tiles < 1:
        raise CimsimError(
            "a chip needs at least one tile", key="chip.tiles", value=n_tiles, allowed=">= 1 or fit"
        )
    have = n_tiles * per_tile
    if have < crossbars_needed and config.chip.switching == "refuse":
        raise CimsimError(
            f"the model needs {crossbars_needed} crossbars and the chip has {have}: "
            f"{crossbars_needed - have} short",
            key="chip.tiles",
            value=n_tiles,
            allowed=f"at least {ceil(crossbars_needed / per_tile)} tiles, or fit",
            hint="or let experts be programmed on demand with chip.switching: lru",
        )
    routers = ceil(n_tiles / concentration)
    width = ceil(sqrt(routers))
    height = ceil(routers / width)
    channels = config.memory.channels if config.memory.kind != "none" else 0
    return ChipMesh(
        kind=config.noc.kind,
        width=width,
        height=height,
        concentration=concentration,
        n_tiles=n_tiles * config.system.chips,
        crossbars_per_tile=per_tile,
        n_digital=config.digital.units * config.system.chips,
        n_channels=channels * config.system.chips,
        chips=config.system.chips,
        topology=config.system.link.topology,
    )
