"""Crossbar reads: energy that depends on the data, and array area.

Resistive cells (ReRAM, PCM, flash): one driven cell draws E = t G V^2, with G linear
between the lowest and highest conductance by its level, t the time that the row is
driven. Charge-domain SRAM cells switch C V^2 where input and stored bit are one. Digital
SRAM crossbars multiply in gates and add in ripple-carry adder trees: every row, output
and cycle costs one w x d-bit product and its share of the tree.
"""

from __future__ import annotations

from math import log2
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cimsim.config import ChipConfig
from cimsim.cost.cells import cell_area_um2
from cimsim.cost.constant import Constant
from cimsim.cost.counts import Density
from cimsim.cost.price import Price
from cimsim.cost.technology import scale_logic

__all__ = ["CONSTANTS", "cell_read_fj", "default_density", "drive_factor", "price_crossbar"]

# A number, or one a unit.
Number = TypeVar("Number", float, NDArray[np.float64])

_GATES = "ZigZag-IMC 28 nm gate library (validated on seven SRAM macros)"
_NAND_CAP = Constant("crossbar.nand_cap", 0.7, "fF", _GATES, 28.0, "A", "input cap of a NAND2")
_XOR_CAP = Constant("crossbar.xor_cap", 1.05, "fF", _GATES, 28.0, "A")
_DFF_CAP = Constant("crossbar.dff_cap", 2.1, "fF", _GATES, 28.0, "A")
_NAND_AREA = Constant("crossbar.nand_area", 0.614, "um2", _GATES, 28.0, "A")
_XOR_AREA = Constant("crossbar.xor_area", 0.614 * 2.4, "um2", _GATES, 28.0, "A")
_DFF_AREA = Constant("crossbar.dff_area", 0.614 * 6, "um2", _GATES, 28.0, "A")
_GATE_VDD_V = 0.9
_DEFAULT = "documented default: fed bits and sliced digits are about uniform"

CONSTANTS = (
    _NAND_CAP,
    _XOR_CAP,
    _DFF_CAP,
    _NAND_AREA,
    _XOR_AREA,
    _DFF_AREA,
    Constant("crossbar.default_bit_density", 0.5, "1", _DEFAULT, None, "D"),
    Constant(
        "crossbar.default_level_single",
        0.5,
        "1",
        _DEFAULT,
        None,
        "D",
        "offset, isaac and digital encodings",
    ),
    Constant(
        "crossbar.default_level_sliced_pair",
        0.25,
        "1",
        _DEFAULT,
        None,
        "D",
        "one cell of a pair holds the digit, the other is at the lowest level",
    ),
    Constant(
        "crossbar.default_level_whole_pair",
        0.1,
        "1",
        "documented default: mean |w| of a Gaussian is a fifth of its 4-sigma maximum, halved "
        "over the pair",
        None,
        "D",
    ),
)
_BY_KEY = {c.key: c for c in CONSTANTS}


def default_density(config: ChipConfig) -> Density:
    """Return the density used where no functional run measured one (marked as default)."""
    weight, device = config.tile.weight, config.tile.device
    bits = _BY_KEY["crossbar.default_bit_density"].value
    pair = weight.encoding in {"differential", "center"} and config.tile.crossbar.kind == "analog"
    if not pair:
        key = "crossbar.default_level_single"
    elif device.cell_bits >= weight.bits - 1:
        key = "crossbar.default_level_whole_pair"
    else:
        key = "crossbar.default_level_sliced_pair"
    return Density(bits, _BY_KEY[key].value, measured=False)


def drive_factor(config: ChipConfig, bit_density: Number) -> Number:
    """Return the mean of V^2 t over its full-scale value for a DAC code.

    Pulses: proportional to the code, mean code = bit density. Levels: E[code^2] of b
    independent bits = d^2 + d (1 - d) (2^b + 1) / (3 (2^b - 1)), which is d for one bit.
    """
    dac, d = config.tile.dac, bit_density
    if dac.kind == "pwm" or dac.bits == 1:
        return d
    top = 2.0**dac.bits
    return d * d + d * (1 - d) * (top + 1) / (3 * (top - 1))


def cell_read_fj(config: ChipConfig, d: Number, m: Number) -> Number:
    """Return the mean energy of one action: a driven cell, or a digital row x output.

    Args:
        config: the chip.
        d: input bit density, a number or one a unit.
        m: mean level fraction, a number or one a unit.
    """
    tile = config.tile
    if tile.crossbar.kind == "digital":
        return _digital_mac_fj(config, d, m)
    v2 = tile.crossbar.v_read_v**2
    if tile.device.technology == "sram":
        return config.cost.cell_cap_ff * v2 * drive_factor(config, d) * m
    device = tile.device
    g_min = 0.0 if device.on_off_ratio is None else device.g_max_us / device.on_off_ratio
    g_mean_us = g_min + m * (device.g_max_us - g_min)
    # uS x V^2 x ns = fJ.
    return g_mean_us * v2 * _drive_ns(config) * drive_factor(config, d)


def price_crossbar(config: ChipConfig) -> Price:
    """Return the cost of one crossbar; its energy is that of the default density."""
    tile, node, vdd = config.tile, config.technology.node_nm, config.technology.vdd_v
    cell, area_constant = cell_area_um2(tile, node, config.cost.cell_area_um2)
    area = cell * tile.crossbar.rows * tile.crossbar.cols
    notes: tuple[str, ...] = ()
    constants: tuple[Constant, ...] = (area_constant,)
    default = default_density(config)
    if tile.crossbar.kind == "digital":
        scaling = scale_logic(28.0, node, vdd)
        area += _digital_logic_um2(config) * scaling.area
        model, notes = "NAND products and ripple-carry adder tree", scaling.notes
        constants = (*constants, *CONSTANTS[:6])
    elif tile.device.technology == "sram":
        model = "charge domain: C V^2 x input x level (cost.cell_cap_ff)"
    else:
        model = "resistive: t G V^2 (tile.device, tile.crossbar)"
    return Price(
        component="crossbar",
        action="row x output" if tile.crossbar.kind == "digital" else "driven cell",
        energy_fj=cell_read_fj(config, default.input_bit_density, default.mean_level_fraction),
        area_um2=area,
        leakage_uw=None,
        idle="gated",
        constants=constants,
        model=model,
        notes=notes,
    )


def _drive_ns(config: ChipConfig) -> float:
    """Time that a full-scale row is driven in one read."""
    tile = config.tile
    if tile.dac.kind == "pwm":
        return float((2**tile.dac.bits - 1) * tile.dac.unit_ns)
    return float(config.cost.drive_ns or tile.crossbar.read_ns)


def _adders(rows: int, bits: int) -> float:
    """One-bit full adders of a tree that adds `rows` numbers of `bits` bits."""
    return max(0.0, rows * (bits + 1) - (bits + log2(max(rows, 1)) + 1))


def _digital_mac_fj(config: ChipConfig, bit_density: Number, level: Number) -> Number:
    """Energy of one row x output in one cycle of d input bits.

    A product bit is active with probability p = input density x weight density. A full
    adder with both inputs active switches all gates (3 NAND2, 2 XOR2), with one active
    only the XORs, with none nothing.
    """
    tile, tech = config.tile, config.technology
    rows = min(tile.crossbar.rows_active or tile.crossbar.rows, tile.crossbar.rows)
    w, d = tile.weight.bits, tile.dac.bits
    factor = scale_logic(28.0, tech.node_nm, tech.vdd_v).energy * _GATE_VDD_V**2
    p = bit_density * level
    xor_fj = 2 * _XOR_CAP.value
    full_fj = xor_fj + 3 * _NAND_CAP.value
    adder_fj = p * p * full_fj + 2 * p * (1 - p) * xor_fj
    # The weight input of a product gate stands still: half of its load switches.
    product_fj = 0.5 * _NAND_CAP.value * d * w * bit_density
    tree_fj = d * _adders(rows, w) * adder_fj
    width = w + tile.input.bits + log2(max(rows, 1))
    place_fj = (d - 1) * (w + log2(max(rows, 1)) + d / 2) * adder_fj
    accumulate_fj = width * (full_fj + _DFF_CAP.value) * _ACCUMULATOR_ACTIVITY
    return (product_fj + (tree_fj + place_fj + accumulate_fj) / rows) * factor


# Sum and register bits of an accumulator toggle like random data.
_ACCUMULATOR_ACTIVITY = 0.5


def _digital_logic_um2(config: ChipConfig) -> float:
    """Area of products, trees and accumulators of one digital crossbar at 28 nm."""
    tile = config.tile
    rows = min(tile.crossbar.rows_active or tile.crossbar.rows, tile.crossbar.rows)
    w, d = tile.weight.bits, tile.dac.bits
    outputs = tile.crossbar.cols // w
    adder = 3 * _NAND_AREA.value + 2 * _XOR_AREA.value
    products = _NAND_AREA.value * d * w * rows
    place = (d - 1) * (w + log2(max(rows, 1)) + d / 2) * adder
    width = w + tile.input.bits + log2(max(rows, 1))
    accumulate = width * (adder + _DFF_AREA.value)
    return outputs * (products + d * _adders(rows, w) * adder + place + accumulate)
