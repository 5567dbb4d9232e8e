"""Off-chip memory: energy per bit, interface included."""

from __future__ import annotations

from cimsim.config import ChipConfig
from cimsim.cost.constant import Constant
from cimsim.cost.price import Price

__all__ = ["CONSTANTS", "price_dram"]

_CACTI = "hwcomponents-cacti DRAM table"
_UNSOURCED = "the table gives no published source"

CONSTANTS = (
    Constant("dram.lpddr4", 8.0, "pJ/bit", _CACTI, None, "A", _UNSOURCED),
    Constant(
        "dram.hbm2",
        3.9,
        "pJ/bit",
        "O'Connor et al., MICRO 2017",
        None,
        "C",
        "hwcomponents-cacti has 6.25; TPUv4i's HBM is 7.03 (AccelForge)",
    ),
    Constant("dram.hbm3", 4.05, "pJ/bit", _CACTI, None, "A", _UNSOURCED),
)
_BY_KIND = {c.key.removeprefix("dram."): c for c in CONSTANTS}


def price_dram(config: ChipConfig) -> Price | None:
    """Return the cost of off-chip memory, an action being one bit; None without one."""
    if config.memory.kind == "none":
        return None
    constant = _BY_KIND[config.memory.kind]
    given = config.memory.pj_per_bit
    return Price(
        "dram",
        (constant.value if given is None else given) * 1e3,
        config.memory.kind if given is None else "memory.pj_per_bit",
        idle="on",
        constants=(constant,) if given is None else (),
        notes=("off-chip memory: area and background power not modelled",),
    )
