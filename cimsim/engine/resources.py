"""Every resource of a run by name and place, with the share of the time that it was busy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.plan import Plan

__all__ = ["Resource", "list_resources", "port_name"]


@dataclass(frozen=True)
class Resource:
    """One resource.

    Attributes:
        kind: tile, digital unit, memory channels, link, injection, ejection or chip link.
        name: unique.
        chip: chip that it is on; the sending one of a link between chips.
        x, y: its router on the chip's mesh; -1 where it has none.
        direction: of a link, see `Topology.direction`; empty else.
        utilisation: busy time over the makespan.
    """

    kind: str
    name: str
    chip: int
    x: int
    y: int
    direction: str
    utilisation: float


def port_name(plan: Plan, port: int) -> str:
    """Return the name of an endpoint of the network."""
    ports = plan.transport.ports
    if port < ports.first_digital:
        return f"tile {port}"
    if port < ports.first_channel:
        return f"digital unit {port - ports.first_digital}"
    if port < ports.first_gateway:
        return f"memory channel {port - ports.first_channel}"
    return f"the gateway of chip {port - ports.first_gateway}"


def list_resources(
    plan: Plan,
    tile: NDArray[np.float64],
    digital: NDArray[np.float64],
    link: NDArray[np.float64],
    dram: NDArray[np.float64],
) -> tuple[Resource, ...]:
    """Return every resource that was busy, and all tiles, digital units and memories.

    Args:
        plan: what ran.
        tile: utilisation of tiles; these arrays are those of `Utilisation`.
        digital: of digital units.
        link: of links and ports.
        dram: of memory channels.
    """
    shape, ports, between = plan.transport.shape, plan.transport.ports, plan.transport.between

    def at(kind: str, name: str, router: int, share: float, direction: str = "") -> Resource:
        x, y = shape.position(router)
        return Resource(kind, name, router // shape.chip_routers, x, y, direction, share)

    routers = ports.router.tolist()
    found = [at("tile", f"tile {i}", routers[i], u) for i, u in enumerate(tile.tolist())]
    for i, share in enumerate(digital.tolist()):
        router = routers[ports.first_digital + i]
        found.append(at("digital unit", f"digital unit {i}", router, share))
    if ports.n_channels:
        for chip, share in enumerate(dram.tolist()):
            name = f"memory channels of chip {chip}"
            found.append(Resource("memory channels", name, chip, -1, -1, "", share))
    first_port, first_chip_link = plan.transport.first_port_link, plan.transport.first_chip_link
    for index in np.flatnonzero(link > 0).tolist():
        share = float(link[index])
        if index < first_port:
            name, router = f"link {shape.link_name(index)}", index // shape.router_links
            found.append(at("link", name, router, share, shape.direction(index)))
        elif index < first_chip_link:
            port, out = divmod(index - first_port, 2)
            side = "ejection" if out else "injection"
            name = f"{side} port of {port_name(plan, port)}"
            found.append(at(side, name, routers[port], share))
        else:
            a, b = between.pairs[index - first_chip_link]
            name = f"link from chip {a} to chip {b}"
            found.append(Resource("chip link", name, a, -1, -1, "", share))
    return tuple(found)
