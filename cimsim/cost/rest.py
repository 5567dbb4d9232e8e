"""What a macro and a chip draw beside the parts that are modelled one by one.

`cost.scope` says what figures include. `macro` adds the control of a macro (sequencer, decoders,
configuration registers) as a share s of its energy, E_control = s / (1 - s) E_parts, and a share of
its area (control, registers and routing); `system` also adds what a whole chip draws beside its
macros, by the ratio f of a published chip's system figure to its macro figure,
E_rest = (f - 1) E_macro, less the parts outside macros that are modelled (buffers, buses, network,
clock, digital units), so that none is charged twice.

Shares are typical, not models: one published chip each, which every row names.
"""

from __future__ import annotations

from collections.abc import Mapping

from cimsim.config import ChipConfig
from cimsim.cost.constant import Constant
from cimsim.cost.price import Price

__all__ = ["CONSTANTS", "MACRO_PARTS", "price_control", "price_rest", "rest_fj"]

_CONTROL = Constant(
    "rest.control_share",
    0.110,
    "1",
    "Colonnade (Kim et al., JSSC 2021): control registers 7.5 % and decoders 3.5 % of its energy",
    65.0,
    "A",
    "share of a macro's energy",
)
_CONTROL_AREA = Constant(
    "rest.control_area_share",
    0.39,
    "1",
    "NeuRRAM (Wan et al., Nature 2022): what is no neuron (28 %), driver (21 %) or array (12 %)",
    130.0,
    "A",
    "share of a macro's area",
)
_SYSTEM = Constant(
    "rest.system_factor",
    3.75,
    "1",
    "IMAGINE (arXiv 2412.19750): 0.15 POPS/W of its macro, 40 TOPS/W of its system, 8 bits",
    22.0,
    "A",
    "energy of a whole chip over that of its macros",
)
CONSTANTS = (_CONTROL, _CONTROL_AREA, _SYSTEM)
MACRO_PARTS = (
    *("crossbar", "bit_line", "merge", "tier_switch", "adc", "dac", "sample_hold", "shift_add"),
    *("input_register", "output_register"),
)


def price_control(
    config: ChipConfig, prices: Mapping[str, Price], per_tile: Mapping[str, float]
) -> Price | None:
    """Return the cost of the control of a tile's macros; an action is 1 fJ of their parts.

    Args:
        config: the chip.
        prices: of the parts of a tile, overrides included.
        per_tile: instances of each in a tile.
    """
    if config.cost.scope == "parts":
        return None
    share, area_share = config.cost.control_share, config.cost.control_area_share
    share = _CONTROL.value if share is None else share
    area_share = _CONTROL_AREA.value if area_share is None else area_share
    parts = [name for name in MACRO_PARTS if name in per_tile]
    parts_um2 = sum(per_tile[name] * (prices[name].area_um2 or 0.0) for name in parts)
    return Price(
        "macro_control",
        share / (1.0 - share),
        f"{share:.3g} of a macro's energy, {area_share:.3g} of its area",
        area_um2=parts_um2 * area_share / (1.0 - area_share),
        idle=config.cost.idle.tile,
        constants=CONSTANTS[:2],
    )


def price_rest(config: ChipConfig) -> Price | None:
    """Return the cost of what a chip draws beside its macros; an action is 1 fJ of that."""
    if config.cost.scope != "system":
        return None
    factor = _system_factor(config)
    return Price(
        "system_rest",
        1.0,
        f"{factor:.3g} x the energy of macros, less the modelled parts outside them",
        constants=CONSTANTS[2:],
    )


def rest_fj(config: ChipConfig, macro_fj: float, outside_fj: float) -> float:
    """Return what a chip draws beside its macros and the modelled parts outside them.

    Args:
        config: the chip.
        macro_fj: energy of macros, their control included.
        outside_fj: of modelled parts of the chip outside macros.
    """
    return max(0.0, (_system_factor(config) - 1.0) * macro_fj - outside_fj)


def _system_factor(config: ChipConfig) -> float:
    """Return the energy of the whole chip over that of its macros: the file's, or typical."""
    given = config.cost.system_factor
    return _SYSTEM.value if given is None else given
