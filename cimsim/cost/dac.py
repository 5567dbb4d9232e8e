"""Row drivers: charging a word line, and converting a digit to a level or a pulse.

Energy of one drive of one row = line charging C_line V^2, for the share of drives that
toggle, plus the converter: none for one bit, a capacitive DAC for more level-coded bits,
a counter-like digital-to-time converter for pulses (one transition a pulse).
"""

from __future__ import annotations

from cimsim.config import Tile
from cimsim.cost.cells import cell_pitch_um
from cimsim.cost.constant import Constant
from cimsim.cost.price import Price
from cimsim.cost.technology import scale_logic

__all__ = ["CONSTANTS", "price_dac"]

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
_DTC_AREA = Constant("dac.pulse_area", 240.0, "um2", "TIMELY digital-to-time converter", 65.0, "A")
_ONE_BIT_AREA = Constant(
    "dac.one_bit_area", 0.166, "um2", "ISAAC, ISCA 2016, Table I (170 um2 for 1,024)", 32.0, "C"
)
_CDAC_AREA = Constant(
    "dac.level_area", 438.0, "um2", "Brahms 8-bit capacitive DAC", 40.0, "A", "in proportion to 2^b"
)

CONSTANTS = (_WIRE, _GATE, _CDAC, _DTC, _DTC_AREA, _ONE_BIT_AREA, _CDAC_AREA)


def price_dac(tile: Tile, node_nm: float, vdd_v: float, cell_area_um2: float | None) -> Price:
    """Return the cost of one row driver; an action is one row driven in one cycle.

    The energy is that of a drive that toggles the line; the ledger multiplies by the
    share of drives that do (bit density for one bit, 1 for pulses and levels whose
    converter works in every cycle).
    """
    pitch = cell_pitch_um(tile, node_nm, cell_area_um2)
    gate = _GATE.value * node_nm / 28.0
    line_ff = tile.crossbar.cols * (gate + _WIRE.value * pitch)
    volt = tile.crossbar.v_read_v if tile.crossbar.kind == "analog" else vdd_v
    line_fj = line_ff * volt * volt
    bits = tile.dac.bits
    scale = scale_logic(65.0, node_nm, vdd_v)
    notes: tuple[str, ...] = ()
    if tile.crossbar.kind == "digital" or (tile.dac.kind == "voltage" and bits == 1):
        energy, area = line_fj, _ONE_BIT_AREA.value * scale_logic(32.0, node_nm, vdd_v).area
        used: tuple[Constant, ...] = (_WIRE, _GATE, _ONE_BIT_AREA)
        model = "word line C V^2"
        if tile.crossbar.kind == "digital":
            energy *= bits
    elif tile.dac.kind == "voltage":
        energy = line_fj + _CDAC.value * bits * vdd_v * vdd_v
        area = _CDAC_AREA.value * 2.0 ** (bits - 8)
        used = (_WIRE, _GATE, _CDAC, _CDAC_AREA)
        model = "word line C V^2 + capacitive DAC"
    else:
        energy = line_fj + _DTC.value * 1e3 * bits / 8 * scale.energy
        area = _DTC_AREA.value * bits / 8 * scale.area
        used = (_WIRE, _GATE, _DTC, _DTC_AREA)
        model, notes = "word line C V^2 + pulse counter", scale.notes
    return Price(
        component="dac",
        action="row drive",
        energy_fj=energy,
        area_um2=area,
        leakage_uw=None,
        idle="gated",
        constants=used,
        model=model,
        notes=notes,
    )
