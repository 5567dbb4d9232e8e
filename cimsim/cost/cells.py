"""Memory cells: area by storage technology (F squared, with the access device)."""

from __future__ import annotations

from math import sqrt

from cimsim.config import Tile
from cimsim.cost.constant import Constant

__all__ = ["CONSTANTS", "cell_area_um2", "cell_pitch_um"]

CONSTANTS = (
    Constant(
        "cell.reram_area",
        12.0,
        "F2",
        "1T1R cell with a minimum-size access transistor",
        None,
        "C",
        "NeuRRAM's analog 1T1R takes 125.7 F2 at 130 nm (CiMLoop); set cost.cell_area_um2",
    ),
    Constant("cell.pcm_area", 25.0, "F2", "1T1R PCM cell, NVSim 16-30 F2", None, "C"),
    Constant("cell.eflash_area", 25.0, "F2", "split-gate embedded flash cell", None, "C"),
    Constant("cell.sram_area", 160.0, "F2", "6T SRAM cell, 0.127 um2 at 28 nm", None, "C"),
)
_F2 = {c.key.split(".")[1].removesuffix("_area"): c for c in CONSTANTS}


def cell_area_um2(tile: Tile, node_nm: float, given_um2: float | None) -> tuple[float, Constant]:
    """Return the area of one cell and the constant it comes from.

    Args:
        tile: whose cells.
        node_nm: technology node.
        given_um2: area from the chip file, which wins.
    """
    constant = _F2[tile.device.technology]
    if given_um2 is not None:
        return given_um2, constant
    return constant.value * (node_nm * 1e-3) ** 2, constant


def cell_pitch_um(tile: Tile, node_nm: float, given_um2: float | None) -> float:
    """Return the side of a square cell."""
    return sqrt(cell_area_um2(tile, node_nm, given_um2)[0])
