"""On-chip area by component."""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.chip import ChipMesh
from cimsim.config import ChipConfig
from cimsim.cost.catalogue import COMPANION, Catalogue, covered
from cimsim.cost.digital import PARTS
from cimsim.units import UM2_PER_MM2

__all__ = ["AreaRow", "area_rows"]


@dataclass(frozen=True)
class AreaRow:
    """Area of all instances of one component.

    Attributes:
        component: its name.
        count: instances on the chip.
        mm2: their area together; None means not modelled.
        source: where the area comes from.
    """

    component: str
    count: float
    mm2: float | None
    source: str


def area_rows(config: ChipConfig, mesh: ChipMesh, catalogue: Catalogue) -> tuple[AreaRow, ...]:
    """Return the area of every on-chip component; off-chip memory has no row."""
    skip, rows = covered(config), []
    tiles = mesh.n_tiles if config.chip.analog_parts else 0
    for name, count in catalogue.instances(config, mesh).items():
        if name in skip:
            continue
        price = catalogue.prices[name]
        area = price.area_um2
        source = price.source
        if name in PARTS and "digital" in config.cost.companion:
            source += COMPANION
        mm2 = None if area is None else count * area / UM2_PER_MM2
        rows.append(AreaRow(name, count, mm2, source))
    for name, table in config.cost.tables.items():
        groups = table.groups * (tiles if table.per == "tile" else mesh.chips)
        rows.append(AreaRow(name, groups, groups * table.area_mm2, f"table: {table.source}"))
    return tuple(rows)
