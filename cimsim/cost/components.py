"""Every component that is charged: what one action of it is, and the equation of its energy."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["COMPONENTS"]

# A chip file may override each of them: it has a unit energy, area or leakage.
COMPONENTS: Mapping[str, tuple[str, str]] = {
    "adc": ("one conversion of a column sum", "by tile.adc.kind: see cimsim.cost.adc"),
    "dac": ("one row driven for one cycle", "C_line V^2 x live share + converter"),
    "crossbar": (
        "one driven cell (digital: one row x output)",
        "resistive t G V^2 x input x level; SRAM C V^2 x input x level; digital gates",
    ),
    "bit_line": ("one column sensed once", "C V^2 + V_dd t (bias + references + undriven rows)"),
    "tier_switch": ("another tier of a tile made active", "tile.tier_switch_pj"),
    "merge": ("slices of one column merged", "C V^2 of the capacitors of tile.pe.merge"),
    "sample_hold": ("one column sampled", "constant"),
    "shift_add": ("one conversion merged into a 24-bit sum", "constant x logic scaling"),
    "input_register": ("one bit in or out", "constant x logic scaling"),
    "output_register": ("one bit in or out", "constant x logic scaling"),
    "tile_buffer": ("one bit read or written", "exp(c0 + c1 log2 kB + c2 log2^2 kB)"),
    "tile_bus": ("one bit moved", "constant x logic scaling"),
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
    "input_scale": (
        "one input brought to its code",
        "16-bit MAC + compare (per_token) or 16 bits of memory (per_channel)",
    ),
    "correction": ("one MAC or element that calibration adds", "16-bit MAC"),
    "kv_read": ("one bit of keys and values read", "SRAM fit, or memory.pj_per_bit"),
    "kv_write": ("one bit of keys and values written", "SRAM fit, or memory.pj_per_bit"),
    "psum_traffic": ("one bit of a partial sum moved", "2 registers + bus + adder"),
    "input_broadcast": ("one input bit to one crossbar", "wire energy x side of a PE"),
    "kv_sram": ("area and leakage of one unit's KV memory", "SRAM fit"),
    "weight_sram": ("area and leakage of one unit's weight memory", "SRAM fit"),
    "dram": ("one bit off the chip", "memory.pj_per_bit or the value of the kind"),
    "program": ("one cell written", "pulses x (pulse + verify energy)"),
    "clock": ("one clock cycle of one tile", "C_wire V^2 x tile pitch"),
    "macro_control": ("1 fJ of the parts of a macro", "s / (1 - s), s of cost.control_share"),
    "system_rest": (
        "1 fJ of a chip beside its macros",
        "(cost.system_factor - 1) x macros, less modelled parts outside them",
    ),
    "chip_link": ("one bit over one link between chips", "system.link.pj_per_bit"),
    "io": ("one bit to or from the host", "system.io_pj_per_bit, or a table row"),
}
