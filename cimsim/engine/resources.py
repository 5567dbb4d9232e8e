"""Every resource of a run by name and place, with the share of the time that it was busy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.plan import Plan

__all__ = ["Resource", "Utilisation", "busiest_resource", "list_resources", "port_name"]

NONE = -1


@dataclass(frozen=True)
class Utilisation:
    """Share of the makespan that each resource is busy, each within 0 to 1.

    Attributes:
        tile: [tiles], its busiest PE, visits and writes together.
        digital: [digital units].
        link: [links], links between routers, then injection and ejection port of each
            endpoint, then links between chips.
        dram: [chips], of every memory channel of a chip.
    """

    tile: NDArray[np.float64]
    digital: NDArray[np.float64]
    link: NDArray[np.float64]
    dram: NDArray[np.float64]


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


def list_resources(plan: Plan, used: Utilisation) -> tuple[Resource, ...]:
    """Return every resource that was busy, and all tiles, digital units and memories."""
    ports = plan.transport.ports
    routers = ports.router.tolist()
    tiles = enumerate(used.tile.tolist())
    found = [_at(plan, "tile", f"tile {i}", routers[i], share) for i, share in tiles]
    for i, share in enumerate(used.digital.tolist()):
        router = routers[ports.first_digital + i]
        found.append(_at(plan, "digital unit", f"digital unit {i}", router, share))
    if ports.n_channels:
        for chip, share in enumerate(used.dram.tolist()):
            name = f"memory channels of chip {chip}"
            found.append(Resource("memory channels", name, chip, -1, -1, "", share))
    busy = np.flatnonzero(used.link > 0).tolist()
    return (*found, *(_link(plan, index, float(used.link[index])) for index in busy))


def busiest_resource(plan: Plan, used: Utilisation) -> str:
    """Name the busiest resource: of equals memory, tiles, digital units, links, in this order.

    The memory of a single chip goes by its kind. A full-size chip has some hundred thousand
    resources, of which this names one.
    """
    memory = used.dram if plan.transport.ports.n_channels else used.dram[:0]
    shares = (memory, used.tile, used.digital, used.link)
    first = [int(np.argmax(s)) if len(s) else NONE for s in shares]
    worst = [float(s[i]) if i != NONE else -1.0 for s, i in zip(shares, first, strict=True)]
    kind = int(np.argmax(worst))  # the first of equals
    if kind == 0:
        several = f" of chip {first[0]}" if plan.chips > 1 else ""
        return f"memory channels{several}"
    if kind == len(shares) - 1:
        return _link(plan, first[kind], worst[kind]).name
    return f"{('tile', 'digital unit')[kind - 1]} {first[kind]}"


def _at(
    plan: Plan, kind: str, name: str, router: int, share: float, direction: str = ""
) -> Resource:
    """Return a resource that hangs on a router."""
    shape = plan.transport.shape
    x, y = shape.position(router)
    return Resource(kind, name, router // shape.chip_routers, x, y, direction, share)


def _link(plan: Plan, index: int, share: float) -> Resource:
    """Return a link between routers, a port or a link between chips by its index."""
    transport = plan.transport
    shape = transport.shape
    if index < transport.first_port_link:
        name, router = f"link {shape.link_name(index)}", index // shape.router_links
        return _at(plan, "link", name, router, share, shape.direction(index))
    if index < transport.first_chip_link:
        port, out = divmod(index - transport.first_port_link, 2)
        side = "ejection" if out else "injection"
        name = f"{side} port of {port_name(plan, port)}"
        return _at(plan, side, name, int(transport.ports.router[port]), share)
    a, b = transport.between.pairs[index - transport.first_chip_link]
    return Resource("chip link", f"link from chip {a} to chip {b}", a, -1, -1, "", share)
