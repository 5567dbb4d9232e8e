"""What a knob, a component or a constant is: meaning, unit, formula, value, source."""

from __future__ import annotations

from typing import Any

from cimsim.chip import build_mesh
from cimsim.config import ChipConfig
from cimsim.config.knobs import Knob, find_knobs
from cimsim.cost.catalogue import COMPONENTS, Catalogue, all_constants, covered, price_chip
from cimsim.cost.constant import Constant

__all__ = ["explainable", "lines_for"]

# What is charged, and the equation of its energy.
_FORMULA: dict[str, tuple[str, str]] = {
    "adc": ("one conversion of a column sum", "by tile.adc.kind: see cimsim.cost.adc"),
    "dac": ("one row driven for one cycle", "C_line V^2 x live share + converter"),
    "crossbar": (
        "one driven cell (digital: one row x output)",
        "resistive t G V^2 x input x level; SRAM C V^2 x input x level; digital gates",
    ),
    "sample_hold": ("one column sampled", "constant"),
    "shift_add": ("one conversion merged into a 24-bit sum", "constant x logic scaling"),
    "input_register": ("one bit in or out", "constant x logic scaling"),
    "output_register": ("one bit in or out", "constant x logic scaling"),
    "tile_buffer": ("one bit read or written", "exp(c0 + c1 log2 kB + c2 log2^2 kB)"),
    "tile_bus": ("one bit moved", "constant x logic scaling"),
    "input_broadcast": ("one input bit to one crossbar", "wire energy x side of a PE"),
    "psum_traffic": ("one bit of a partial sum moved", "2 registers + bus + adder"),
    "noc_router": ("one bit through one router", "noc.router_pj_per_bit"),
    "noc_link": ("one bit over one link", "noc.link_pj_per_bit_mm x link length"),
    "digital_unit": ("area and leakage of one digital unit", "lanes x multiply-add area"),
    "digital_attention": ("one MAC of scores or mixing", "MAC x 16 kv_bits / 64"),
    "digital_linear": ("one MAC of a digital matrix", "MAC x weight bits x input bits / 64"),
    "softmax": ("one score", "16-bit MAC + 2 adds + look-up + compare"),
    "norm": ("one element of a norm or rotation", "2 16-bit MACs"),
    "activation": ("one element of gate x up", "2 16-bit MACs + look-up"),
    "router_digital": ("one expert score", "16-bit MAC + 2 adds + look-up + 8 compares"),
    "combine": ("one element of an expert's output", "16-bit MAC"),
    "correction": ("one MAC or element that calibration adds", "16-bit MAC"),
    "kv_read": ("one bit of keys and values read", "SRAM fit, or memory.pj_per_bit"),
    "kv_write": ("one bit of keys and values written", "SRAM fit, or memory.pj_per_bit"),
    "kv_sram": ("area and leakage of one unit's KV memory", "SRAM fit"),
    "weight_sram": ("area and leakage of one unit's weight memory", "SRAM fit"),
    "dram": ("one bit off the chip", "memory.pj_per_bit or the value of the kind"),
    "program": ("one cell written", "pulses x (pulse + verify energy)"),
    "clock": ("one clock cycle of one tile", "C_wire V^2 x tile pitch"),
    "chip_link": ("one bit over one link between chips", "system.link.pj_per_bit"),
    "io": ("one bit to or from the host", "system.io_pj_per_bit, or a table row"),
}

# Names that tables of results give to rows of the ledger.
_REPORTED_AS = {"kv_dram": "dram"}


def explainable() -> tuple[str, ...]:
    """Return every key that `lines_for` knows."""
    return (
        *(k.path for k in find_knobs()),
        *COMPONENTS,
        *(c.key for c in all_constants()),
    )


def lines_for(key: str, config: ChipConfig) -> list[str]:
    """Return what a key means, with its value on one chip; empty if it is unknown here.

    Args:
        key: dotted path of a knob, a component, a constant or a group of constants.
        config: the chip whose values are shown.
    """
    lines: list[str] = []
    knob = next((k for k in find_knobs() if k.path == key), None)
    if knob is not None:
        lines += _knob(knob, config)
    name = _REPORTED_AS.get(key, key.removeprefix("leakage_"))
    if name in COMPONENTS:
        ports = build_mesh(config, 1).network.router_ports
        lines += _component(name, price_chip(config, ports), config)
    constants = [c for c in all_constants() if c.key == key or c.key.startswith(f"{key}.")]
    lines += [line for c in constants for line in _constant(c)]
    return lines


def _knob(knob: Knob, config: ChipConfig) -> list[str]:
    value: Any = config
    for part in knob.path.split("."):
        value = getattr(value, part, None)
    default = "mandatory" if knob.mandatory else repr(knob.default)
    lines = [
        f"{knob.path}  (knob of a chip file)",
        f"  {knob.meaning}",
        f"  type: {knob.type_name}; unit: {knob.unit}; default: {default}",
        f"  value on {config.name}: {value!r}",
    ]
    if knob.bounds:
        lines.append(f"  allowed: {knob.bounds}")
    if knob.kinds:
        lines.append(f"  only with kind: {', '.join(knob.kinds)}")
    return lines


def _component(name: str, catalogue: Catalogue, config: ChipConfig) -> list[str]:
    action, formula = _FORMULA[name]
    lines = [
        f"{name}  (component)",
        f"  an action is {action}",
        f"  energy of an action: {formula}",
    ]
    price = catalogue.prices.get(name)
    if name in covered(config):
        table = config.cost.tables.get(name)
        why = "excluded, or part of a table row" if table is None else f"table: {table.source}"
        lines.append(f"  on {config.name}: {why}")
    elif price is None:
        lines.append(f"  on {config.name}: not modelled")
    else:
        energy = "not modelled" if price.energy_fj is None else f"{price.energy_fj:.6g} fJ"
        area = "not modelled" if price.area_um2 is None else f"{price.area_um2:.6g} um2"
        leak = "not modelled" if price.leakage_uw is None else f"{price.leakage_uw:.6g} uW"
        lines += [
            f"  on {config.name}: {energy} an action, {area}, leakage {leak}, idle {price.idle}",
            f"  model: {price.model}",
            *(f"  source: {c.key} = {c.value:g} {c.unit}; {c.cite()}" for c in price.constants),
            *(f"  note: {note}" for note in price.notes),
        ]
    return lines


def _constant(constant: Constant) -> list[str]:
    lines = [
        f"{constant.key} = {constant.value:g} {constant.unit}  (constant)",
        f"  source: {constant.cite()}",
    ]
    return [*lines, f"  note: {constant.note}"] if constant.note else lines
