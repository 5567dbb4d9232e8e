"""Shift-and-add: merges slices and input cycles into 24-bit sums, one step per conversion."""

from __future__ import annotations

from cimsim.config import ChipConfig
from cimsim.cost.constant import Constant
from cimsim.cost.logic import logic_price
from cimsim.cost.price import Price

__all__ = ["CONSTANTS", "PARTIAL_SUM_BITS", "price_shift_add"]

PARTIAL_SUM_BITS = 24
_SOURCE = "16-bit shift-and-add of hwcomponents-library"
_ENERGY = Constant(
    "shift_add.energy", 0.021, "pJ/step", _SOURCE, 32.0, "A", "in proportion to 24 of 16 bits"
)
_AREA = Constant("shift_add.area", 60.0, "um2", _SOURCE, 32.0, "A")

CONSTANTS = (_ENERGY, _AREA)


def price_shift_add(config: ChipConfig) -> Price:
    """Return the cost of one shift-and-add unit; an action is one conversion merged."""
    width = PARTIAL_SUM_BITS / 16
    return logic_price(
        config,
        "shift_add",
        _ENERGY,
        _AREA,
        energy_fj=_ENERGY.value * 1e3 * width,
        area_um2=_AREA.value * width,
    )
