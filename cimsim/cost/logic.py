"""Small digital parts of a PE: sample-and-hold, shift-and-add, registers."""

from __future__ import annotations

from cimsim.config import ChipConfig
from cimsim.config.components import IdlePolicy
from cimsim.cost.constant import Constant
from cimsim.cost.price import Price
from cimsim.cost.technology import scale_logic

__all__ = ["logic_price"]


def logic_price(
    config: ChipConfig,
    component: str,
    action: str,
    energy: Constant,
    area: Constant | None,
    *,
    energy_fj: float,
    area_um2: float | None,
    idle: IdlePolicy = "clock_gated",
) -> Price:
    """Return a digital part's price, scaled from the node of its constants to the chip's.

    Args:
        config: the chip.
        component: name in reports.
        action: what is counted.
        energy: constant behind the energy.
        area: constant behind the area.
        energy_fj: energy of one action at the constant's node.
        area_um2: area of one instance at the constant's node.
        idle: what it does without work.
    """
    source_nm = energy.node_nm or config.technology.node_nm
    scaling = scale_logic(source_nm, config.technology.node_nm, config.technology.vdd_v)
    return Price(
        component=component,
        action=action,
        energy_fj=energy_fj * scaling.energy,
        area_um2=None if area_um2 is None else area_um2 * scaling.area,
        leakage_uw=None,
        idle=idle,
        constants=(energy,) if area is None else (energy, area),
        model=f"logic x {scaling.energy:.3g} from {source_nm:g} nm",
        notes=scaling.notes,
    )
