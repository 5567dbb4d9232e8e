"""What a user asks of the network simulator, read from short strings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

from cimsim.chip.mesh import build_mesh
from cimsim.chip.networks import system_topology
from cimsim.chip.topology import GRIDS, Topology
from cimsim.config.load import find_chip, load_chip
from cimsim.engine.noc.curve import CurvePoint, Sampling, measure_point
from cimsim.engine.noc.flit_state import FlitSettings, flit_traffic
from cimsim.engine.noc.traffic import Pattern, Traffic
from cimsim.errors import CimsimError, nearest

__all__ = ["NocRequest", "noc_request", "read_hotspots", "read_mesh", "read_network", "read_rates"]

DEFAULT_CONCENTRATION = 4


@dataclass(frozen=True)
class NocRequest:
    """A latency-load curve to measure.

    Args:
        settings: the network.
        loads: traffic at each offered rate, in the order asked for.
        sampling: when to measure and when to stop.
    """

    settings: FlitSettings
    loads: tuple[Traffic, ...]
    sampling: Sampling

    def points(self) -> Iterator[CurvePoint]:
        """Measure the curve, a point at a time."""
        for load in self.loads:
            yield measure_point(self.settings, load, self.sampling)


def noc_request(
    settings: FlitSettings,
    *,
    traffic: str,
    hotspots: str,
    flits: int,
    rates: str,
    seed: int,
    sampling: Sampling,
) -> NocRequest:
    """Return what the strings and numbers of a command line ask of a network, fully checked.

    Args:
        settings: the network.
        traffic: pattern.
        hotspots: ``ID:fraction,...``, or empty.
        flits: flits per packet.
        rates: comma-separated offered rates, in flits per node and cycle.
        seed: seed of all draws.
        sampling: when to measure and when to stop.

    Raises:
        CimsimError: on the first value that is out of range.
    """
    offered = read_rates(rates)
    first = Traffic(
        pattern=cast(Pattern, traffic),
        rate=offered[0],
        packet_flits=flits,
        seed=seed,
        hotspots=read_hotspots(hotspots),
    )
    flit_traffic(settings.shape, first)  # refuses a pattern that this shape does not have
    return NocRequest(settings, tuple(replace(first, rate=rate) for rate in offered), sampling)


def read_network(mesh: str | None, topology: str, concentration: int | None) -> Topology:
    """Return the network that a command line asks for.

    Args:
        mesh: routers as ``WIDTHxHEIGHT``; by default 8x8, in a ring or full network 8x1. A chip
            file with a number of tiles needs none.
        topology: a kind, or a chip file.
        concentration: nodes per router of a cmesh.

    Raises:
        CimsimError: if there is no such network.
    """
    if topology.endswith((".yaml", ".yml")):
        config = load_chip(find_chip(topology))
        if mesh is not None or concentration is not None:
            raise CimsimError("a chip file says the size of its network", key="mesh", value=mesh)
        return build_mesh(config, 1).network
    if topology not in (*GRIDS, "full"):
        kinds = (*GRIDS, "full")
        raise CimsimError(
            "unknown network topology",
            key="noc.kind",
            value=topology,
            allowed=f"{', '.join(kinds)}, or a chip file (.yaml)",
            hint=nearest(topology, kinds),
        )
    size = mesh or ("8x1" if topology in {"ring", "full"} else "8x8")
    shape = read_mesh(size, "mesh" if topology == "full" else topology, concentration)
    return system_topology("full", shape.routers) if topology == "full" else shape


def read_mesh(text: str, kind: str, concentration: int | None) -> Topology:
    """Return the shape of a network written as ``WIDTHxHEIGHT`` in routers.

    Args:
        text: for example ``8x8``.
        kind: mesh, torus, cmesh or ring.
        concentration: nodes per router; by default 4 for a cmesh, else 1.

    Raises:
        CimsimError: if the text has another form or the size is out of range.
    """
    match = re.fullmatch(r"(\d{1,9})x(\d{1,9})", text.strip())
    if not match:
        raise CimsimError(
            "a mesh is written WIDTHxHEIGHT, in routers",
            key="mesh",
            value=text,
            allowed="for example 8x8",
        )
    default = DEFAULT_CONCENTRATION if kind == "cmesh" else 1
    nodes = default if concentration is None else concentration
    return Topology(kind, int(match[1]), int(match[2]), nodes)


def read_rates(text: str) -> list[float]:
    """Return the offered rates of a comma-separated list, in its order.

    Args:
        text: for example ``0.05,0.1``.

    Raises:
        CimsimError: if the list is empty or an entry is not a number.
    """
    rates = [_number(part, "rates") for part in text.split(",") if part.strip()]
    if not rates:
        raise CimsimError(
            "there are no rates", key="rates", value=text, allowed="for example 0.05,0.1,0.2"
        )
    return rates


def read_hotspots(text: str) -> dict[int, float]:
    """Return the share of the packets of every hotspot.

    Args:
        text: ``ID:fraction,...``, or empty.

    Raises:
        CimsimError: if an entry has another form or a node occurs twice.
    """
    hotspots: dict[int, float] = {}
    for part in text.split(","):
        if not part.strip():
            continue
        match = re.fullmatch(r"\s*(\d{1,9})\s*:(.+)", part)
        if not match:
            raise CimsimError(
                "a hotspot is written ID:fraction",
                key="hotspots",
                value=part,
                allowed="for example 0:0.1,63:0.05",
            )
        node = int(match[1])
        if node in hotspots:
            raise CimsimError("a hotspot occurs twice", key="hotspots", value=node)
        hotspots[node] = _number(match[2], "hotspots")
    return hotspots


def _number(text: str, key: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise CimsimError("this is not a number", key=key, value=text.strip()) from None
