"""Links between chips, and the interface to the host: energy per bit, as the file says."""

from __future__ import annotations

from cimsim.config import ChipConfig
from cimsim.cost.constant import Constant
from cimsim.cost.price import Price

__all__ = ["CONSTANTS", "price_chip_link", "price_io"]

_CLASS = Constant(
    "chip_link.energy",
    0.5,
    "pJ/bit",
    "UCIe: target of the standard package up to 16 GT/s; 0.25 of the advanced package",
    None,
    "C",
    "default of system.link.pj_per_bit; die-to-die links of this class take 0.3 to 1 pJ/bit",
)

CONSTANTS = (_CLASS,)


def price_chip_link(config: ChipConfig) -> Price:
    """Return the cost of one link between chips; an action is one bit over one link."""
    return Price(
        "chip_link",
        config.system.link.pj_per_bit * 1e3,
        f"system.link.pj_per_bit ({config.system.link.source})",
        idle="on",
        constants=(_CLASS,),
    )


def price_io(config: ChipConfig) -> Price | None:
    """Return the cost of a bit to or from the host; None where the file gives none."""
    if config.system.io_pj_per_bit is None:
        return None
    energy = config.system.io_pj_per_bit * 1e3
    return Price("io", energy, "system.io_pj_per_bit", idle="on")
