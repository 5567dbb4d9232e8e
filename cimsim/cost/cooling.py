"""What cooling a power density asks for."""

from __future__ import annotations

from typing import Literal

from cimsim.cost.constant import Constant

__all__ = ["AIR", "CONSTANTS", "MICROCHANNEL", "Cooling", "cooling_of"]

Cooling = Literal["air", "microchannels", "none known"]

AIR = Constant(
    "cooling.air",
    1.0,
    "W/mm2",
    "conventional cooling fails from about 100 W/cm2 (introductions of papers on microchannel "
    "heat sinks)",
    None,
    "B",
    "a GPU of 700 W on 814 mm2 is at 0.86",
)
MICROCHANNEL = Constant(
    "cooling.microchannel",
    7.9,
    "W/mm2",
    "Tuckerman and Pease, IEEE Electron Device Letters 2(5), 1981: water in channels of the die, "
    "790 W/cm2",
    None,
    "B",
)
CONSTANTS = (AIR, MICROCHANNEL)


def cooling_of(w_per_mm2: float) -> Cooling:
    """Return the least cooling that takes a power density, averaged over the die."""
    if w_per_mm2 <= AIR.value:
        return "air"
    return "microchannels" if w_per_mm2 <= MICROCHANNEL.value else "none known"
