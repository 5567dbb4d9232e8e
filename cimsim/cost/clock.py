"""Clock distribution: one tile pitch of clock wire per tile, switched every cycle.

E = 0.5 x 2 x C V^2 per cycle and millimetre (the wire rises and falls). Clock pins of
registers are part of the register, adder and MAC energies.
"""

from __future__ import annotations

from cimsim.config import ChipConfig
from cimsim.cost.constant import Constant
from cimsim.cost.price import Price

__all__ = ["CONSTANTS", "price_clock"]

_CAP = Constant(
    "clock.wire_cap",
    0.2,
    "pF/mm",
    "wire capacitance of on-chip metal",
    None,
    "D",
    "repeaters and grids are not modelled",
)

CONSTANTS = (_CAP,)


def price_clock(config: ChipConfig, pitch_mm: float) -> Price:
    """Return the clock's cost; an action is one cycle of one tile.

    Args:
        config: the chip.
        pitch_mm: side of a tile.
    """
    return Price(
        "clock",
        _CAP.value * 1e3 * pitch_mm * config.technology.vdd_v**2,
        f"clock wire C V^2 over {pitch_mm:.3g} mm per tile",
        idle=config.cost.idle.tile,
        constants=CONSTANTS,
    )
