"""Row drivers: charging a word line, and converting a digit to a level or a pulse.

Energy of one drive of one row = line charging C_line V^2, for the share of drives that
toggle, plus the converter: none for one bit, a capacitive DAC for more level-coded bits,
a counter-like digital-to-time converter for pulses (one transition per pulse).
"""

from __future__ import annotations

from cimsim.config import ChipConfig
from cimsim.cost.cells import cell_pitch_um
from cimsim.cost.constant import Constant
from cimsim.cost.crossbar import drive_factor
from cimsim.cost.price import Number, Price
from cimsim.cost.technology import scale_logic

__all__ = ["CONSTANTS", "drive_fj", "price_dac"]

_WIRE = Constant(
    "dac.wire_cap", 0.2, "fF/um", "wire capacitance of on-chip metal, 0.2 pF/mm", None, "D"
)
_GATE = Constant(
    "dac.cell_gate_cap",
    0.35,
    "fF/cell",
    "word-line load of a cell, half a NAND2 of ZigZag-IMC (0.7 fF)",
    28.0,
    "A",
    "scales with the node (gate capacitance is proportional to length)",
)
_CDAC = Constant("dac.level_cap", 50.0, "fF/bit", "ZigZag-IMC DAC: 50 fF x bits x V^2", 28.0, "A")
_DTC = Constant(
    "dac.pulse_energy",
    0.0375,
    "pJ/8b pulse",
    "TIMELY digital-to-time converter",
    65.0,
    "A",
    "scaled as logic, in proportion to bits",
)
_DTC_AREA = Constant(
    "dac.pulse_area",
    71.0,
    "um2/32 bit",
    "Aladdin 32-bit comparator",
    40.0,
    "A",
    "a comparator per row against one shared counter, in proportion to bits; TIMELY's converter "
    "takes 240 um2 at 65 nm and is shared by many rows",
)
_ONE_BIT_AREA = Constant(
    "dac.one_bit_area", 0.166, "um2", "ISAAC, ISCA 2016, Table I (170 um2 for 1,024)", 32.0, "C"
)
_CDAC_AREA = Constant(
    "dac.level_area", 438.0, "um2", "Brahms 8-bit capacitive DAC", 40.0, "A", "in proportion to 2^b"
)

CONSTANTS = (_WIRE, _GATE, _CDAC, _DTC, _DTC_AREA, _ONE_BIT_AREA, _CDAC_AREA)


def drive_fj(config: ChipConfig, bit_density: Number) -> Number:
    """Return the mean energy of driving one row for one cycle.

    Line charging C V^2 for the share of codes that are not zero (pulses and single bits:
    one transition) or for the mean square level, plus the converter, which works whenever
    the code is not zero.

    Args:
        config: the chip.
        bit_density: share of fed bits that are one, a number or one per unit.
    """
    bits, tech = config.tile.dac.bits, config.technology
    line = _line_fj(config)
    if config.tile.crossbar.kind == "digital":
        return line * bits * bit_density
    silent = 1.0 - bit_density
    for _ in range(bits - 1):
        silent = silent * (1.0 - bit_density)
    live = 1.0 - silent
    if config.tile.dac.kind == "pwm":
        scale = scale_logic(65.0, tech.node_nm, tech.vdd_v).energy
        return live * (line + _DTC.value * 1e3 * bits / 8 * scale)
    if bits == 1:
        return live * line
    level = _CDAC.value * bits * tech.vdd_v**2
    return drive_factor(config, bit_density) * line + live * level


def price_dac(config: ChipConfig) -> Price:
    """Return the cost of one row driver at full activity; an action is one row drive."""
    tech, bits, dac = config.technology, config.tile.dac.bits, config.tile.dac
    used: tuple[Constant, ...]
    notes: tuple[str, ...] = ()
    if config.tile.crossbar.kind == "digital" or (dac.kind == "voltage" and bits == 1):
        area = _ONE_BIT_AREA.value * scale_logic(32.0, tech.node_nm, tech.vdd_v).area
        used, model = (_WIRE, _GATE, _ONE_BIT_AREA), "word line C V^2"
    elif dac.kind == "voltage":
        area = _CDAC_AREA.value * 2.0 ** (bits - 8)
        used, model = (_WIRE, _GATE, _CDAC, _CDAC_AREA), "word line C V^2 + capacitive DAC"
    else:
        scaling = scale_logic(40.0, tech.node_nm, tech.vdd_v)
        area, notes = _DTC_AREA.value * bits / 32 * scaling.area, scaling.notes
        used, model = (_WIRE, _GATE, _DTC, _DTC_AREA), "word line C V^2 + pulse counter"
    return Price(
        component="dac",
        energy_fj=drive_fj(config, 1.0),
        model=model,
        area_um2=area,
        constants=used,
        notes=notes,
    )


def _line_fj(config: ChipConfig) -> float:
    """Energy of charging one word line: C = N (C_gate + c_w x pitch).

    The gates on the lines of a digital crossbar are its product gates, charged there.
    """
    tile, tech = config.tile, config.technology
    pitch = cell_pitch_um(tile, tech.node_nm, config.cost.cell_area_um2)
    gate = _GATE.value * tech.node_nm / 28.0 if tile.crossbar.kind == "analog" else 0.0
    volt = tile.crossbar.v_read_v if tile.crossbar.kind == "analog" else tech.vdd_v
    return tile.crossbar.cols * (gate + _WIRE.value * pitch) * volt * volt
