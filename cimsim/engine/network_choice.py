"""Which level of the network serves a run: links reserved by trains, or routers flit by flit.

`noc.level: auto` runs at the packet level, which both engines know, and asks its validity
(`cimsim.engine.noc.validity`). A run that left the range is made again at the flit level if
that level can do it: on one chip, and with no more work than `MOST_FLIT_HOPS`. Otherwise the
report says so, and how long it would take. The flit level
is the SimPy engine's; `run.engine` says which one runs the packet level, so that it decides
about time and never about results. Where numbers depend on time, the routing expected
beforehand is judged in the same way and the model then runs beside the chosen level. The report
says which level served, and why not the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.chip.topology import Topology
from cimsim.config import ChipConfig
from cimsim.engine.noc.flit_state import ROUTER_CYCLES
from cimsim.engine.noc.packet import FLITS
from cimsim.engine.raw import RawRun
from cimsim.errors import CimsimError

__all__ = [
    "FLIT_LEVEL", "MOST_FLIT_HOPS", "PACKET_LEVEL", "NetworkLevel", "flit_obstacle", "flit_work",
    "network_without_effect", "refuse_flit", "too_large",
]  # fmt: skip

MOST_FLIT_HOPS = 4_000_000
"""Flits times links of the largest run that `auto` makes flit by flit: two seconds or less."""
FLIT_HOPS_PER_S = 2_000_000
"""What a core does: 2.2 to 3.7 million on the bundled chips, the more the longer the messages."""
MOST_CHANNELS = 1 << 14
"""Most virtual channels per port, over all routers: some hundred MB of state."""


@dataclass(frozen=True)
class NetworkLevel:
    """What served a run.

    Attributes:
        flit: whether routers were simulated flit by flit.
        why: why not, where the packet level's range was left.
    """

    flit: bool = False
    why: str = ""


PACKET_LEVEL, FLIT_LEVEL = NetworkLevel(), NetworkLevel(flit=True)


def flit_obstacle(config: ChipConfig, shape: Topology) -> str:
    """Return why a chip cannot be run at the flit level, or an empty string.

    Args:
        config: the chip.
        shape: its network.
    """
    if shape.chips > 1:
        return "links between chips are modelled at the packet level only"
    if config.tile.tiers > 1:
        return "tiers of tiles are modelled at the packet level only"
    if config.noc.router_cycles < ROUTER_CYCLES:
        return f"its routers take {ROUTER_CYCLES} cycles or more"
    if shape.routers * config.noc.virtual_channels > MOST_CHANNELS:
        return f"{shape.routers} routers are too many"
    return ""


def refuse_flit(config: ChipConfig, engine: str, shape: Topology) -> None:
    """Refuse the flit level where it is asked for and cannot be had.

    Args:
        config: the chip.
        engine: what was asked for: auto, simpy or compiled.
        shape: its network.

    Raises:
        CimsimError: then.
    """
    if config.noc.level != "flit" or config.noc.contention == "none":
        return
    obstacle = flit_obstacle(config, shape)
    if engine == "compiled":
        obstacle = "the compiled engine knows the packet level only"
    if obstacle:
        raise CimsimError(
            f"the flit level cannot run this: {obstacle}",
            key="noc.level",
            value="flit",
            allowed="packet, auto",
        )


def flit_work(raw: RawRun) -> int:
    """Return flits times links of a run, which is the same at both levels."""
    return int(raw.link_used[:, FLITS].sum())


def too_large(raw: RawRun) -> str:
    """Return that a run would take too long flit by flit, or an empty string."""
    work = flit_work(raw)
    if work <= MOST_FLIT_HOPS:
        return ""
    return f"too large for the flit level, which would take about {-(-work // FLIT_HOPS_PER_S)} s"


def network_without_effect(config: ChipConfig, networks: tuple[str, ...]) -> tuple[str, ...]:
    """Return a warning for every knob of the network's levels that had no effect.

    Args:
        config: the chip.
        networks: what served every phase (`EngineResult.network`).
    """
    noc = config.noc
    fields = type(noc).model_fields
    names = ["packet_flits"]
    if noc.contention == "none":
        names = ["level", "virtual_channels", "vc_buffer_flits", *names]
        reason = "noc.contention is none"
    elif "flit level" in networks:
        return ()
    else:
        reason = "no phase was simulated flit by flit (noc.level)"
    return tuple(
        f"noc.{name} has no effect: {reason}"
        for name in names
        if getattr(noc, name) != fields[name].default
    )
