"""Sample-and-hold circuits: one at every physical column."""

from __future__ import annotations

from cimsim.config import ChipConfig
from cimsim.cost.constant import Constant
from cimsim.cost.price import Price

__all__ = ["CONSTANTS", "price_sample_hold"]

_ISAAC = "ISAAC, ISCA 2016, Table I: 10 uW and 0.04 mm2/1000 for 1,024"
_ENERGY = Constant(
    "sample_hold.energy",
    0.98,
    "fJ/sample",
    _ISAAC,
    32.0,
    "C",
    "a capacitor: not scaled with the node",
)
_AREA = Constant("sample_hold.area", 0.039, "um2", _ISAAC, 32.0, "C")

CONSTANTS = (_ENERGY, _AREA)


def price_sample_hold(config: ChipConfig) -> Price:
    """Return the cost of one sample-and-hold; an action is one sampled column."""
    node = config.technology.node_nm
    note = f"extrapolated: 32 nm sample-and-hold used at {node:g} nm unscaled"
    return Price(
        component="sample_hold",
        energy_fj=_ENERGY.value,
        model="sample-and-hold",
        area_um2=_AREA.value,
        constants=CONSTANTS,
        notes=() if node == 32.0 else (note,),
    )
