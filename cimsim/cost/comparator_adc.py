"""Converters made of comparators: flash, a comparator for each step, and counters that one stops.

    flash     E = (2^b - 1) E_comparator
    counter   E = P_static / rate + 2^(b - 1) x 2 E_flipflop

A comparator is a double-tail latch scaled as logic; a ripple counter toggles two flip-flops a count
on average and counts to half of its range on average. A counter needs 2^b periods a conversion.
"""

from __future__ import annotations

from cimsim.config.converter import CounterAdc, FlashAdc
from cimsim.cost.constant import Constant
from cimsim.cost.technology import scale_logic
from cimsim.errors import CimsimError

__all__ = ["CONSTANTS", "counter_cost", "flash_cost"]

_COMPARATOR = Constant(
    "adc.comparator_energy",
    113.0,
    "fJ/decision",
    "Schinkel et al., ISSCC 2007, doi:10.1109/ISSCC.2007.373420: 225 uW at 2 GHz and 1.2 V",
    90.0,
    "C",
    "double-tail latch, scaled as logic",
)
_COMPARATOR_AREA = Constant(
    "adc.comparator_area",
    1596.0 / 16 / 15,
    "um2",
    "Sinangil et al., JSSC 2021: 1,596 um2 of 16 flash converters of 15 comparators",
    7.0,
    "B",
    "scaled as logic",
)
_FLIPFLOP = Constant(
    "adc.counter_toggle", 2.1 * 0.9**2, "fJ", "flip-flop of ZigZag-IMC, 2.1 fF at 0.9 V", 28.0, "A"
)
_FLIPFLOP_AREA = Constant(
    "adc.counter_bit_area", 0.614 * 6, "um2", "flip-flop of ZigZag-IMC", 28.0, "A"
)
_MOST_FLASH_BITS = 8
CONSTANTS = (_COMPARATOR, _COMPARATOR_AREA, _FLIPFLOP, _FLIPFLOP_AREA)


def flash_cost(adc: FlashAdc, node_nm: float, vdd_v: float) -> tuple[float, float]:
    """Return energy in fJ of a conversion and area in um2 of one flash converter.

    Raises:
        CimsimError: if it has more bits than one is built for.
    """
    if adc.bits > _MOST_FLASH_BITS:
        raise CimsimError(
            f"a flash converter of {adc.bits} bits would be {(1 << adc.bits) - 1} comparators",
            key="tile.adc.bits",
            value=adc.bits,
            allowed=f"at most {_MOST_FLASH_BITS} with tile.adc.kind flash",
        )
    comparators = (1 << adc.bits) - 1
    energy = comparators * _COMPARATOR.value * scale_logic(90.0, node_nm, vdd_v).energy
    return energy, comparators * _COMPARATOR_AREA.value * scale_logic(7.0, node_nm, vdd_v).area


def counter_cost(adc: CounterAdc, node_nm: float, vdd_v: float) -> tuple[float, float]:
    """Return energy in fJ of a conversion and area in um2 of one converter with a counter.

    Raises:
        CimsimError: if the counter is too slow for the rate.
    """
    fastest = adc.clock_ghz / (1 << adc.bits)
    if adc.rate_gsps > fastest * (1 + 1e-9):
        raise CimsimError(
            f"a counter of {adc.bits} bits needs {1 << adc.bits} periods a conversion",
            key="tile.adc.rate_gsps",
            value=adc.rate_gsps,
            allowed=f"at most {fastest:.4g} GS/s at tile.adc.clock_ghz {adc.clock_ghz:g}",
        )
    gates = scale_logic(28.0, node_nm, vdd_v)
    counted = (1 << adc.bits) / 2 * 2 * _FLIPFLOP.value * gates.energy
    # uW / (GS/s) = fJ.
    static = adc.static_uw / adc.rate_gsps
    area = adc.bits * _FLIPFLOP_AREA.value * gates.area
    area += _COMPARATOR_AREA.value * scale_logic(7.0, node_nm, vdd_v).area
    return static + counted, area
