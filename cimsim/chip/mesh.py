"""The chip: tiles, digital units and memory channels on the routers of its network.

Tiles of a grid are numbered row by row; in a concentrated mesh `concentration` neighbouring tiles
share a router. Where digital units and memory channels sit is the topology's to say.

A system of several chips repeats one chip: tiles, routers, digital units and channels of
chip 0 come first, then those of chip 1, ... Rows of routers are numbered through. Every chip has
one *gateway* to the links between chips.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from cimsim.chip.networks import build_topology, system_topology
from cimsim.chip.topology import Topology
from cimsim.config import ChipConfig
from cimsim.config.noc import GraphNoc
from cimsim.errors import CimsimError

__all__ = ["ChipMesh", "build_mesh"]


@dataclass(frozen=True)
class ChipMesh:
    """Geometry of a chip, or of a system of equal chips.

    Attributes:
        network: routers and links of all chips.
        between: chips and the links between them.
        n_tiles: tiles of all chips; the last row of a chip may be partly filled.
        crossbars_per_tile: crossbars in a tile.
        n_digital: digital units of all chips.
        n_channels: memory channels of all chips.
    """

    network: Topology
    between: Topology
    n_tiles: int
    crossbars_per_tile: int
    n_digital: int
    n_channels: int

    @property
    def chips(self) -> int:
        """Chips of the system."""
        return self.network.chips

    @property
    def width(self) -> int:
        """Columns of routers of one chip."""
        return self.network.width

    @property
    def height(self) -> int:
        """Rows of routers of one chip."""
        return self.network.height

    @property
    def chip_routers(self) -> int:
        """Routers of one chip."""
        return self.network.chip_routers

    @property
    def chip_tiles(self) -> int:
        """Tiles of one chip."""
        return self.n_tiles // self.chips

    @property
    def n_routers(self) -> int:
        """Routers of all chips."""
        return self.network.routers

    def chip_of_tile(self, tile: int) -> int:
        """Chip that a tile is on."""
        return tile // self.chip_tiles

    def router_of_tile(self, tile: int) -> int:
        """Router that a tile hangs on."""
        chip, local = divmod(tile, self.chip_tiles)
        return chip * self.chip_routers + self.network.router_of_tile(local)

    @cached_property
    def router_of_tiles(self) -> NDArray[np.int64]:
        """Router of every tile, [tiles]."""
        own = [self.network.router_of_tile(tile) for tile in range(self.chip_tiles)]
        of_chip = self.chip_routers * np.arange(self.chips)
        return (of_chip[:, np.newaxis] + np.array(own, dtype=np.int64)).ravel()

    @cached_property
    def router_of_digital(self) -> tuple[int, ...]:
        """Router of every digital unit."""
        return self._on_all_chips("digital", self.n_digital // self.chips)

    @cached_property
    def router_of_channel(self) -> tuple[int, ...]:
        """Router of every memory channel."""
        return self._on_all_chips("memory", self.n_channels // self.chips)

    @cached_property
    def router_of_gateway(self) -> tuple[int, ...]:
        """Router of every chip's gateway."""
        return self._on_all_chips("gateway", 1)

    def _on_all_chips(self, what: str, count: int) -> tuple[int, ...]:
        own = self.network.hosts(what, count)
        return tuple(chip * self.chip_routers + r for chip in range(self.chips) for r in own)

    @cached_property
    def tile_places(self) -> NDArray[np.int64]:
        """Column and row of every tile's router, rows of all chips numbered through, [tiles, 2]."""
        routers = self.router_of_tiles
        own = np.array([self.network.position(r) for r in routers.tolist()], dtype=np.int64)
        own[:, 1] += routers // self.chip_routers * self.height
        return own

    @cached_property
    def tile_cells(self) -> NDArray[np.int64]:
        """Column and row in which every tile is drawn: those of a router in a block, [tiles, 2]."""
        across = ceil(sqrt(self.network.concentration))
        block = np.array([across, ceil(self.network.concentration / across)])
        routers = self.router_of_tiles
        order = np.argsort(routers, kind="stable")
        nth = np.empty_like(order)  # among the tiles of its router
        nth[order] = np.arange(self.n_tiles) - np.searchsorted(routers[order], routers[order])
        within = np.stack([nth % across, nth // across], axis=1)
        cells: NDArray[np.int64] = self.tile_places * block + within
        return cells

    @cached_property
    def tile_hops(self) -> NDArray[np.signedinteger]:
        """Hops between the routers of every two tiles of a chip, [chip tiles, chip tiles]."""
        return self.network.distances(self.router_of_tiles[: self.chip_tiles])

    @cached_property
    def graph(self) -> nx.Graph[tuple[str, int]]:
        """The chip as a graph with nodes ('router', i), ('tile', i), ('digital', i), ...

        Edges between routers are links; the others are local ports.
        """
        graph: nx.Graph[tuple[str, int]] = nx.Graph()
        for a, b in self.network.graph.edges:
            graph.add_edge(("router", a), ("router", b), port="link")
        hung = {
            "tile": self.router_of_tiles.tolist(),
            "digital": self.router_of_digital,
            "memory": self.router_of_channel,
            "gateway": self.router_of_gateway if self.chips > 1 else (),
        }
        for kind, routers in hung.items():
            for i, router in enumerate(routers):
                graph.add_edge((kind, i), ("router", router), port="local")
        if self.chips > 1:
            for a, b in self.between.graph.edges:
                graph.add_edge(("gateway", a), ("gateway", b), port="chip_link")
        return graph


def build_mesh(config: ChipConfig, crossbars_needed: int) -> ChipMesh:
    """Lay out the chip: the given tile count, or the smallest mesh that fits.

    Args:
        config: the chip.
        crossbars_needed: crossbars that hold every analog matrix of one chip once (see
            `cimsim.chip.system.build_system` for several chips).

    Raises:
        CimsimError: if the chip is too small and may not switch experts, or if there is no such
            network.
    """
    per_tile, chips = config.tile.stacked_crossbars, config.system.chips
    n_tiles = _tiles(config, crossbars_needed)
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
    channels = config.memory.channels if config.memory.kind != "none" else 0
    return ChipMesh(
        network=build_topology(config.noc, n_tiles, chips),
        between=system_topology(config.system.link.topology, chips),
        n_tiles=n_tiles * chips,
        crossbars_per_tile=per_tile,
        n_digital=config.digital.units * chips,
        n_channels=channels * chips,
    )


def _tiles(config: ChipConfig, crossbars_needed: int) -> int:
    """Return the tiles of one chip: as given, of the graph, or the fewest that fit."""
    tiles = config.chip.tiles
    if isinstance(config.noc, GraphNoc) and tiles == "fit":
        tiles = sum(len(node.tiles) for node in config.noc.nodes.values())
    if tiles == "fit":
        wanted = ceil(crossbars_needed * (1.0 + config.chip.spare_fraction))
        return max(1, ceil(wanted / config.tile.stacked_crossbars))
    if tiles < 1:
        raise CimsimError(
            "a chip needs at least one tile", key="chip.tiles", value=tiles, allowed=">= 1 or fit"
        )
    return tiles
