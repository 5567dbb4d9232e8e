"""Crossbar reads: energy that depends on the data, and array area.

Resistive cells (ReRAM, PCM, flash): one driven cell draws E = t G V^2, with G the mean
conductance and t the time that the row is driven. Charge-domain SRAM cells switch C V^2
where input and stored bit are one. Digital SRAM crossbars multiply in gates and add in
ripple-carry adder trees: every row, output and cycle costs one w x d-bit product and its
share of the tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from cimsim.config import ChipConfig
from cimsim.cost.bit_line import clamp_factor
from cimsim.cost.buffers import SRAM_CONSTANTS, sram
from cimsim.cost.cells import cell_area_um2
from cimsim.cost.constant import Constant
from cimsim.cost.density import charged_density
from cimsim.cost.price import Number, Price
from cimsim.cost.technology import scale_logic
from cimsim.cost.tree_registers import register_bits
from cimsim.elementary import log2
from cimsim.errors import CimsimError

__all__ = ["CONSTANTS", "cell_read_fj", "drive_factor", "price_crossbar"]

_GATES = "ZigZag-IMC 28 nm gate library (fitted on its SRAM macros)"
_NAND_CAP = Constant("crossbar.nand_cap", 0.7, "fF", _GATES, 28.0, "A", "input cap of a NAND2")
_XOR_CAP = Constant("crossbar.xor_cap", 1.05, "fF", _GATES, 28.0, "A")
_DFF_CAP = Constant("crossbar.dff_cap", 2.1, "fF", _GATES, 28.0, "A")
_NAND_AREA = Constant("crossbar.nand_area", 0.614, "um2", _GATES, 28.0, "A")
_XOR_AREA = Constant("crossbar.xor_area", 0.614 * 2.4, "um2", _GATES, 28.0, "A")
_DFF_AREA = Constant("crossbar.dff_area", 0.614 * 6, "um2", _GATES, 28.0, "A")
_GATE_VDD_V = 0.9

CONSTANTS = (
    _NAND_CAP,
    _XOR_CAP,
    _DFF_CAP,
    _NAND_AREA,
    _XOR_AREA,
    _DFF_AREA,
)


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
        d: input bit density, a number or one per unit.
        m: mean conductance over g_max, a number or one per unit.
    """
    tile = config.tile
    if tile.crossbar.kind == "digital":
        return _digital_mac_fj(config, d, m)
    v2 = tile.crossbar.v_read_v**2
    if tile.device.technology == "sram":
        return config.cost.cell_cap_ff * v2 * drive_factor(config, d) * m
    # uS x V^2 x ns = fJ.
    factor = drive_factor(config, d) * clamp_factor(config)
    return m * tile.device.g_max_us * v2 * _drive_ns(config) * factor


def price_crossbar(config: ChipConfig) -> Price:
    """Return the cost of one crossbar; its energy is that of a chip without a run."""
    tile, node, vdd = config.tile, config.technology.node_nm, config.technology.vdd_v
    if config.cost.drive_ns is not None and config.cost.drive_ns > tile.crossbar.read_ns:
        raise CimsimError(
            "rows cannot be driven for longer than a read takes",
            key="cost.drive_ns",
            value=config.cost.drive_ns,
            allowed=f"at most tile.crossbar.read_ns, {tile.crossbar.read_ns:g} ns",
        )
    cell, area_constant = cell_area_um2(tile, node, config.cost.cell_area_um2)
    area = cell * tile.crossbar.rows * tile.crossbar.cols
    notes: tuple[str, ...] = ()
    constants: tuple[Constant, ...] = (area_constant,)
    default = charged_density(config)
    if tile.crossbar.kind == "digital":
        scaling = scale_logic(28.0, node, vdd)
        # Cells come with the periphery of a memory of their size.
        cells = tile.crossbar.rows * tile.crossbar.cols * config.cost.cells_per_product
        memory = sram(cells / 8 / 1024, node, vdd)
        if config.cost.cell_area_um2 is None:
            area = memory.area_um2
        area += _digital_logic_um2(config) * scaling.area
        model, notes = "NAND products and ripple-carry adder tree", scaling.notes
        constants = (*CONSTANTS, *SRAM_CONSTANTS)
    elif tile.device.technology == "sram":
        model = "charge domain: C V^2 x input x level (cost.cell_cap_ff)"
    else:
        clamped = tile.crossbar.sense.kind == "clamp"
        law = "t G V V_dd (1 + mirrors)" if clamped else "t G V^2"
        model = f"resistive: {law} (tile.device, tile.crossbar)"
    return Price(
        component="crossbar",
        energy_fj=cell_read_fj(config, default.input_bit_density, default.mean_level_fraction),
        model=model,
        area_um2=area,
        constants=constants,
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

    Everything switches with the toggle rate of the inputs, taken as their bit density. A
    full adder (3 NAND2, 2 XOR2) switches whole where both products are live, its XORs
    only where the weight bit of one is zero (ZigZag-IMC's rule).
    """
    tile, tech, cost = config.tile, config.technology, config.cost
    if cost.digital_bit_fj is not None:
        bits = tile.weight.bits * tile.dac.bits
        measured = cost.digital_bit_fj * bits + cost.digital_row_fj
        return measured + 0.0 * bit_density
    rows = tile.crossbar.rows_at_once
    factor = scale_logic(28.0, tech.node_nm, tech.vdd_v).energy * _GATE_VDD_V**2
    xor_fj = 2 * _XOR_CAP.value
    full_fj = xor_fj + 3 * _NAND_CAP.value
    adder_fj = bit_density * (level * full_fj + (1.0 - level) * xor_fj)
    gates = _digital_gates(config)
    # The weight input of a product gate stands still: half of its load switches.
    product_fj = 0.5 * _NAND_CAP.value * gates.products * bit_density
    accumulate_fj = gates.accumulator_bits * (full_fj + _DFF_CAP.value) * bit_density
    register_fj = register_bits(config) * _DFF_CAP.value * bit_density
    switched_fj = product_fj + gates.adders * adder_fj + accumulate_fj + register_fj
    return switched_fj * (factor / rows)


@dataclass(frozen=True)
class _Gates:
    """Gates of one output of a digital crossbar: products, full adders, accumulator."""

    products: float
    adders: float
    accumulator_bits: float


def _digital_gates(config: ChipConfig) -> _Gates:
    """Count gates after ZigZag-IMC: d ripple-carry trees, a place-value adder, an accumulator.

    With Booth recoding two input bits select a multiple of the weight, one bit wider, and
    one tree adds them all.
    """
    tile, rows = config.tile, config.tile.crossbar.rows_at_once
    w, d = tile.weight.bits, tile.dac.bits
    depth = log2(max(rows, 1))
    products = float(d * w * rows)
    if config.cost.booth:
        adders = ceil(d / 2) * _adders(rows, w + 1)
    else:
        place = (d - 1) * (w + depth) + d * max(0.0, log2(d) - 0.5) if d > 1 else 0.0
        adders = d * _adders(rows, w) + place
    accumulator = 0.0 if d >= tile.input.bits else w + tile.input.bits + depth
    return _Gates(products, adders, accumulator)


def _digital_logic_um2(config: ChipConfig) -> float:
    """Area of products, trees and accumulators of one digital crossbar at 28 nm."""
    outputs = config.tile.crossbar.cols // config.tile.weight.bits
    adder = 3 * _NAND_AREA.value + 2 * _XOR_AREA.value
    gates = _digital_gates(config)
    accumulate = gates.accumulator_bits * (adder + _DFF_AREA.value)
    registers = register_bits(config) * _DFF_AREA.value
    logic = gates.products * _NAND_AREA.value + gates.adders * adder + accumulate
    return outputs * (logic + registers)
