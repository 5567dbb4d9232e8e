"""Input and output registers of a PE, charged per bit moved in or out."""

from __future__ import annotations

from cimsim.config import ChipConfig
from cimsim.cost.constant import Constant
from cimsim.cost.logic import logic_price
from cimsim.cost.price import Price
from cimsim.cost.shift_add import PARTIAL_SUM_BITS

__all__ = ["CONSTANTS", "price_input_register", "price_output_register"]

_SOURCE = "Aladdin register bit (hwcomponents)"
_ENERGY = Constant("register.energy", 0.009, "pJ/bit", _SOURCE, 40.0, "A")
_FILES = "ISAAC, ISCA 2016, Table I: register files of 2 kB and 256 B"
_INPUT_AREA = Constant("register.input_area", 2100.0 / 16384, "um2/bit", _FILES, 32.0, "C")
_OUTPUT_AREA = Constant("register.output_area", 770.0 / 2048, "um2/bit", _FILES, 32.0, "C")

CONSTANTS = (_ENERGY, _INPUT_AREA, _OUTPUT_AREA)


def price_input_register(config: ChipConfig) -> Price:
    """Return the cost of one PE's input registers: one vector of every crossbar's rows."""
    tile = config.tile
    bits = tile.pe.crossbars * tile.crossbar.rows * tile.input.bits
    return _register(config, "input_register", _INPUT_AREA, bits)


def price_output_register(config: ChipConfig) -> Price:
    """Return the cost of one PE's output registers: a 24-bit sum of every logical column."""
    tile = config.tile
    columns = max(1, tile.crossbar.cols // max(1, -(-tile.weight.bits // tile.device.cell_bits)))
    bits = tile.pe.crossbars * columns * PARTIAL_SUM_BITS
    return _register(config, "output_register", _OUTPUT_AREA, bits)


def _register(config: ChipConfig, component: str, area: Constant, bits: int) -> Price:
    energy_fj, area_um2 = _ENERGY.value * 1e3, area.value * bits
    return logic_price(config, component, _ENERGY, area, energy_fj=energy_fj, area_um2=area_um2)
