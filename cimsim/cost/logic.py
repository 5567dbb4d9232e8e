"""Small digital parts of a PE: sample-and-hold, shift-and-add, registers."""

from __future__ import annotations

from cimsim.config import ChipConfig
from cimsim.cost.constant import Constant
from cimsim.cost.price import Price
from cimsim.cost.technology import area_factor, scale_logic

__all__ = ["logic_price"]


def logic_price(
    config: ChipConfig,
    component: str,
    energy: Constant,
    area: Constant,
    *,
    energy_fj: float,
    area_um2: float,
) -> Price:
    """Return a digital part's price, scaled from the node of its constants to the chip's.

    Args:
        config: the chip.
        component: name in reports.
        energy: constant behind the energy.
        area: constant behind the area.
        energy_fj: energy of one action at the constant's node.
        area_um2: area of one instance at the node of its constant.
    """
    tech = config.technology
    node, area_node = energy.node_nm or tech.node_nm, area.node_nm or tech.node_nm
    scaling = scale_logic(node, tech.node_nm, tech.vdd_v)
    return Price(
        component=component,
        energy_fj=energy_fj * scaling.energy,
        model=f"logic x {scaling.energy:.3g} from {node:g} nm",
        area_um2=area_um2 * area_factor(area_node, tech.node_nm),
        idle="clock_gated",
        constants=(energy, area),
        notes=scaling.notes,
    )
