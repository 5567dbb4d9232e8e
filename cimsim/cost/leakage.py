"""Static power by component, and the time for which its idle policy lets it leak."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from cimsim.chip import ChipMesh
from cimsim.config import ChipConfig
from cimsim.config.components import IdlePolicy
from cimsim.cost.catalogue import Catalogue, covered
from cimsim.cost.counts import ActionCounts
from cimsim.cost.digital import PARTS
from cimsim.cost.supply import leakage_factor
from cimsim.units import PS_PER_NS

__all__ = ["LEAKING", "NOT_MODELLED", "LeakageRow", "leakage_rows", "leaking_ns"]

NOT_MODELLED = "not modelled"
_TILE = (
    *("adc", "tile_buffer", "crossbar", "dac", "sample_hold", "shift_add"),
    *("input_register", "output_register", "tile_bus", "input_scale", "macro_control"),
)
LEAKING = (*_TILE, "noc_router", *PARTS)
"""Components that can leak."""


@dataclass(frozen=True)
class LeakageRow:
    """Static power of one component.

    Attributes:
        component: its name.
        idle: gated, clock_gated or on.
        instances: on the whole chip.
        power_uw: of all instances, or "not modelled".
        block: whose busy time counts: tile, digital or noc_link.
        source: where the power comes from.
    """

    component: str
    idle: IdlePolicy
    instances: float
    power_uw: float | str
    block: str
    source: str


def leakage_rows(
    config: ChipConfig, mesh: ChipMesh, catalogue: Catalogue
) -> tuple[LeakageRow, ...]:
    """Return static power of every on-chip component; table rows include theirs."""
    skip, idle, rows = covered(config), config.cost.idle, []
    factor = leakage_factor(config)
    counts = catalogue.instances(config, mesh)
    plan: list[tuple[str, IdlePolicy, str]] = [
        (name, idle.adc if name == "adc" else idle.tile, "tile") for name in _TILE
    ]
    plan.append(("noc_router", idle.noc, "noc_link"))
    plan += [(name, idle.digital, "digital") for name in PARTS]
    for name, policy, block in plan:
        if name in skip or name not in counts:
            continue
        price = catalogue.prices[name]
        leaks = price.leakage_uw
        power = NOT_MODELLED if leaks is None else leaks * counts[name] * factor
        rows.append(LeakageRow(name, policy, counts[name], power, block, price.source))
    return tuple(rows)


def leaking_ns(row: LeakageRow, mesh: ChipMesh, counts: ActionCounts, mapped_tiles: int) -> float:
    """Return for how long the power of a row flows, as if all instances were one.

    Gated blocks leak while they are busy, the others for the whole phase; tiles that hold
    no weight never leak.

    Args:
        row: the component.
        mesh: the chip's geometry.
        counts: of the phase.
        mapped_tiles: tiles that hold weights.
    """
    blocks = {"tile": mesh.n_tiles, "digital": mesh.n_digital, "noc_link": mesh.n_routers}
    total = blocks[row.block]
    awake = mapped_tiles if row.block == "tile" else total
    whole = counts.makespan_ps * awake
    if row.idle == "gated":
        busy = min(counts.busy_ps.get(row.block, 0), whole)
        return busy / total / PS_PER_NS
    return whole / total / PS_PER_NS


def default_mapped_tiles(mesh: ChipMesh, crossbars: int) -> int:
    """Return tiles that hold every unit once."""
    return min(mesh.n_tiles, ceil(crossbars / mesh.crossbars_per_tile))
