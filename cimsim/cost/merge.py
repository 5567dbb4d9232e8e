"""Merging the slices of a weight: capacitors that share charge before one conversion.

One merged column costs the charge of its capacitors, E = C V_read^2, once for each conversion.
With S slices of c bits and a unit capacitor u::

    binary   C = u (1 + 2^c + ... + 2^(c (S - 1)))
    c2c      C = 3 u (c S - 1) + u        C and 2C for every bit after the first, and its end
"""

from __future__ import annotations

from cimsim.chip.tiling import ColumnLayout, column_layout
from cimsim.config import ChipConfig
from cimsim.config.tile import NoMerge
from cimsim.cost.constant import Constant
from cimsim.cost.price import Price

__all__ = ["CONSTANTS", "merges_in_crossbar", "price_merge"]

_DENSITY = Constant(
    "merge.cap_density",
    2.0,
    "fF/um2",
    "metal finger capacitor over the array, 1.5 to 2.5 fF/um2",
    None,
    "C",
)
CONSTANTS = (_DENSITY,)


def price_merge(config: ChipConfig) -> Price | None:
    """Return the cost of one merge; an action is one merged conversion. None without a merge."""
    merge, layout = config.tile.pe.merge, column_layout(config.tile)
    if isinstance(merge, NoMerge) or not layout.merged:
        return None
    bits = config.tile.device.cell_bits
    if merge.kind == "binary":
        units = float(sum(1 << (bits * s) for s in range(layout.slices)))
    else:
        units = 3.0 * (bits * layout.slices - 1) + 1.0
    total_ff = units * merge.unit_ff
    return Price(
        "merge",
        total_ff * config.tile.crossbar.v_read_v**2,
        f"charge of {units:g} unit capacitors, C V^2 ({merge.kind})",
        area_um2=total_ff / _DENSITY.value,
        constants=CONSTANTS,
    )


def merges_in_crossbar(layout: ColumnLayout) -> float:
    """Return merges of one crossbar: one for each converted column of its weights."""
    return float(layout.weights_per_crossbar * layout.converted_per_weight)
