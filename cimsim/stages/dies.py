"""How many dies a chip takes: none is larger than what a scanner exposes at once."""

from __future__ import annotations

from math import ceil

__all__ = ["DIE_LIMIT_MM2", "count_dies"]

DIE_LIMIT_MM2 = 858.0  # reticle limit of one die, 26 mm x 33 mm


def count_dies(area_mm2: float, chips: int) -> int:
    """Return the dies of a system: a chip that exceeds the reticle takes several.

    Args:
        area_mm2: on-chip area of the system.
        chips: equal chips that share it.
    """
    return chips * ceil(area_mm2 / chips / DIE_LIMIT_MM2)
