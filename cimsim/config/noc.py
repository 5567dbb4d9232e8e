"""The network between tiles, chosen by `kind`; `cimsim.chip.topology` builds what this names."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag, model_validator

from cimsim.config.bounds import CLOCK_GHZ, ENERGY_PJ_PER_BIT, LENGTH_MM, TILES
from cimsim.config.section import Section, knob

__all__ = ["AnyNoc", "GraphEdge", "GraphNoc", "GraphNode", "MeshNoc", "Noc", "PluginNoc"]


class Noc(Section):
    """What every network has."""

    contention: Literal["packet", "none"] = knob(
        "packet",
        "Links serve one packet at a time, or every packet sees an empty network (fast, "
        "optimistic).",
    )
    level: Literal["auto", "packet", "flit"] = knob(
        "auto",
        "Model of contended links: packet reserves them a train of vectors at a time (fast); flit "
        "simulates routers cycle by cycle (SimPy engine, one chip); auto is packet, and once more "
        "flit where a phase left the packet level's range and is small enough.",
    )
    virtual_channels: int = knob(
        4,
        "Virtual channels of a port; a torus or ring needs two, a graph as many as its routes have "
        "layers. At the packet level their buffers together are what a waiting vector can fill.",
        ge=1,
        le=64,
    )
    vc_buffer_flits: int = knob(8, "Buffer of a virtual channel.", unit="flit", ge=1, le=4096)
    packet_flits: int = knob(
        8,
        "Longest packet at the flit level: a vector is cut into packets, each no longer than a "
        "buffer (or multicasts could deadlock).",
        unit="flit",
        ge=1,
        le=4096,
    )
    flit_bits: int = knob(32, "Width of a flit.", unit="bit", ge=8, le=4096)
    clock_ghz: float = knob(1.0, "Clock of routers and links.", unit="GHz", within=CLOCK_GHZ)
    router_cycles: int = knob(3, "Cycles through a router.", unit="cycle", ge=1, le=20)
    link_cycles: int = knob(1, "Cycles over a link.", unit="cycle", ge=1, le=20)
    tile_pitch_mm: float | None = knob(
        None, "Length of a link; null means the side of a tile.", unit="mm", within=LENGTH_MM
    )
    router_pj_per_bit: float = knob(
        0.081, "Energy of a router.", unit="pJ/bit", ge=0, within=ENERGY_PJ_PER_BIT
    )
    link_pj_per_bit_mm: float = knob(
        0.12, "Energy of a link.", unit="pJ/bit/mm", ge=0, within=ENERGY_PJ_PER_BIT
    )
    source: str = knob("ISAAC router, Keckler/Dally wire", "Where the energies come from.")

    @model_validator(mode="after")
    def _packets_fit(self) -> Noc:
        if self.packet_flits > self.vc_buffer_flits:
            message = (
                f"packet_flits ({self.packet_flits}) is more than vc_buffer_flits "
                f"({self.vc_buffer_flits}): a packet must fit into a buffer"
            )
            raise ValueError(message)
        kind = getattr(self, "kind", "")
        if kind in {"torus", "ring"} and self.virtual_channels < 2:
            message = (
                f"virtual_channels must be 2 or more on a {kind} (one on each side of its seam)"
            )
            raise ValueError(message)
        return self


class MeshNoc(Noc):
    """A router per tile in rows and columns; packets go along x first, then along y."""

    kind: Literal["mesh"] = "mesh"


class TorusNoc(Noc):
    """A mesh whose rows and columns are closed to rings."""

    kind: Literal["torus"] = "torus"


class CmeshNoc(Noc):
    """A mesh of routers that several tiles share."""

    kind: Literal["cmesh"] = "cmesh"
    concentration: int = knob(4, "Tiles per router.", ge=1, le=16)


class RingNoc(Noc):
    """A router per tile, each joined to the next, the last to the first."""

    kind: Literal["ring"] = "ring"


class FullNoc(Noc):
    """A router per tile and a link between every two of them."""

    kind: Literal["full"] = "full"


Place = Annotated[int, Field(ge=-10_000, le=10_000)]


class GraphNode(Section):
    """A router of a graph."""

    tiles: tuple[Annotated[int, Field(ge=0, le=TILES.most)], ...] = knob(
        (), "Tiles on it; a switch has none. Every tile is on one node."
    )
    hosts: tuple[Literal["digital", "memory", "gateway"], ...] = knob(
        (),
        "What else is spread over this node and those that say the same: digital units, memory "
        "channels, the gateway to other chips. What no node hosts is spread over all.",
    )
    at: tuple[Place, Place] | None = knob(
        None, "Column and row where it is drawn; null takes the next free place of a square."
    )


class GraphEdge(Section):
    """A link of a graph, one in each direction."""

    between: tuple[str, str] = knob(..., "The two nodes that it joins.")
    cost: int = knob(
        1, "What a route pays for it: routes are those that pay least.", ge=1, le=1_000_000
    )
    length: float = knob(
        1.0, "Its length, over that of a link of a mesh: its energy per bit.", ge=1e-6, le=1000
    )


class GraphNoc(Noc):
    """Routers and links of the user's own: chiplets, express links, trees."""

    kind: Literal["graph"] = "graph"
    nodes: dict[str, GraphNode] = Field(
        ..., max_length=int(TILES.most), description="Routers by name."
    )
    edges: tuple[GraphEdge, ...] = knob((), "Links between nodes.")


class PluginNoc(Noc):
    """A topology that a plug-in registers (`cimsim.chip.topology.register_topology`)."""

    kind: Literal["plugin"] = "plugin"
    topology: str = knob(..., "Name under which a plug-in registers the topology.")
    options: dict[str, JsonValue] = knob({}, "What the plug-in reads; it checks them itself.")


def _kind(noc: Any) -> str:
    """Return the kind of a network; one that says none is a mesh."""
    return str(noc.get("kind", "mesh") if isinstance(noc, dict) else getattr(noc, "kind", noc))


AnyNoc = Annotated[
    Annotated[MeshNoc, Tag("mesh")]
    | Annotated[TorusNoc, Tag("torus")]
    | Annotated[CmeshNoc, Tag("cmesh")]
    | Annotated[RingNoc, Tag("ring")]
    | Annotated[FullNoc, Tag("full")]
    | Annotated[GraphNoc, Tag("graph")]
    | Annotated[PluginNoc, Tag("plugin")],
    Discriminator(_kind),
]
