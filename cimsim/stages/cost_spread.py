"""Full-size figures in draws of the cost model's constants: intervals, and what chips share.

Energy is the sum of the component columns of scale.csv, each moving with its price; leakage
also with the time. Area is the sum of the components' areas. Time moves with the clock or
bandwidth of the busiest resource, a number of the chip file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.config import ChipConfig
from cimsim.cost import CostModel
from cimsim.cost.uncertainty import DRAWS, Quantity, Unsure, factors, governing
from cimsim.results import COMPONENTS
from cimsim.results.scale_rows import MEMORY

__all__ = ["Spread", "interval", "spread_of"]

Floats = NDArray[np.float64]
LEAKAGE = "energy_leakage_"
_PRICE_OF = {"kv_dram": "dram"}


@dataclass(frozen=True)
class Spread:
    """Figures of one copy of a chip, draw by draw; draws of two chips belong together.

    Attributes:
        energy_nj: [draws], per token.
        area_mm2: [draws].
        time: [draws], factor on every time.
    """

    energy_nj: Floats
    area_mm2: Floats
    time: Floats


def interval(draws: Floats) -> tuple[float, float]:
    """Return the ends between which 95 % of draws lie."""
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)


def spread_of(cost: CostModel, energy: Mapping[str, object], critical: str) -> Spread:
    """Return the draws of a row of scale.csv.

    Args:
        cost: prices of the chip at full size.
        energy: energy columns of the row, nJ per token.
        critical: its busiest resource.
    """
    time = factors(_pace(cost.config, critical))
    total = np.zeros(DRAWS)
    names = [f"energy_{c.name}_nj" for c in COMPONENTS] + ["energy_other_nj"]
    names += [n for n in energy if n.startswith(LEAKAGE) and n != f"{LEAKAGE}nj"]
    for column in names:
        value = energy.get(column)
        if not isinstance(value, int | float) or not value:
            continue
        component = column.removeprefix("energy_").removesuffix("_nj")
        quantity: Quantity = "leakage" if column.startswith(LEAKAGE) else "energy"
        moved = factors(_unsure(cost, component.removeprefix("leakage_"), quantity))
        total += value * (moved * time if quantity == "leakage" else moved)
    area = np.zeros(DRAWS)
    for row in cost.area():
        if row.mm2:
            area += row.mm2 * factors(_unsure(cost, row.component, "area"))
    return Spread(total, area, time)


def _unsure(cost: CostModel, component: str, quantity: Quantity) -> Unsure:
    """Return what the price of a component is unsure with.

    Numbers of a chip file move together where the same model prices them at the same node.
    """
    config, name = cost.config, _PRICE_OF.get(component, component)
    node = config.technology.node_nm
    price = cost.catalogue.prices.get(name)
    if price is None or name in config.cost.tables:
        return Unsure(f"{config.name}: {component} {quantity}", "sourced")
    own = f"{price.model}, {node:g} nm: {component} {quantity}"
    override = config.cost.overrides.get(name)
    given = {"energy": "energy_fj", "area": "area_um2", "leakage": "leakage_uw"}[quantity]
    if override is not None and getattr(override, given) is not None:
        return Unsure(own, "sourced")
    return governing(price.constants, quantity, node, own)


def _pace(config: ChipConfig, critical: str) -> Unsure:
    """Return what the time of the busiest resource is unsure with."""
    if critical == MEMORY:
        memory = config.memory
        name = f"{memory.kind} of {memory.channels} x {memory.channel_gb_per_s:g} GB/s"
    elif critical.startswith("digital unit"):
        name = f"digital units at {config.digital.clock_ghz:g} GHz"
    elif critical.startswith("link"):
        name = f"network at {config.noc.clock_ghz:g} GHz"
    else:
        name = f"tiles of {config.name}"
    return Unsure(name, "sourced")
