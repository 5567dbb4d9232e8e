"""Names of the components that energy is booked to, and their families in figures.

The cost model's ledger uses these names; `family_of` puts each into one of about ten
families, so that bars of different chips can be compared at a glance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

__all__ = [
    "COMPONENTS",
    "FAMILIES",
    "Component",
    "component_column",
    "family_of",
    "reported_component",
]


@dataclass(frozen=True)
class Component:
    """A component of the energy ledger.

    Attributes:
        name: name in the ledger.
        family: family in figures, one of `FAMILIES`.
        meaning: what is charged to it.
    """

    name: str
    family: str
    meaning: str


# In the order of the figures, from the array outwards.
FAMILIES: tuple[str, ...] = (
    "crossbar",
    "ADC",
    "DAC and sampling",
    "shift-add, registers",
    "buffers, tile bus",
    "network on chip",
    "digital matrices",
    "attention",
    "other digital",
    "KV cache, on chip",
    "KV cache, DRAM",
    "programming",
    "leakage, clock",
    "other DRAM, I/O",
    "other",
)

COMPONENTS: tuple[Component, ...] = (
    Component("crossbar", "crossbar", "Cells and word lines while a vector is read."),
    Component("adc", "ADC", "Conversions of column sums."),
    Component("dac", "DAC and sampling", "Row drivers."),
    Component("sample_hold", "DAC and sampling", "Sample-and-hold of columns."),
    Component("shift_add", "shift-add, registers", "Shift-and-add of slices and cycles."),
    Component("input_register", "shift-add, registers", "Input registers of PEs."),
    Component("output_register", "shift-add, registers", "Output registers of PEs."),
    Component("tile_buffer", "buffers, tile bus", "Reads and writes of tile buffers."),
    Component("tile_bus", "buffers, tile bus", "Bus between buffer and PEs."),
    Component("input_broadcast", "buffers, tile bus", "Broadcast of inputs to crossbars."),
    Component("psum_traffic", "buffers, tile bus", "Partial sums (24 bit) between crossbars."),
    Component("noc_router", "network on chip", "Bits through routers."),
    Component("noc_link", "network on chip", "Bits over links between routers."),
    Component("digital_linear", "digital matrices", "Matrix products that run digitally."),
    Component("digital_attention", "attention", "Scores and mixing of attention."),
    Component("softmax", "attention", "Softmax of attention scores."),
    Component("norm", "other digital", "RMS norms, rotary embedding and residual sums."),
    Component("activation", "other digital", "Gated activation between up and down."),
    Component("router_digital", "other digital", "Softmax and top-k of the expert router."),
    Component("combine", "other digital", "Weighted sum of expert outputs."),
    Component("correction", "other digital", "Digital operations that calibration adds."),
    Component("kv_read", "KV cache, on chip", "Keys and values read on the chip."),
    Component("kv_write", "KV cache, on chip", "Keys and values written on the chip."),
    Component("kv_dram", "KV cache, DRAM", "Keys and values in off-chip memory."),
    Component("program", "programming", "Weights written into cells, verify included."),
    Component("clock", "leakage, clock", "Clock tree and control."),
    Component("dram", "other DRAM, I/O", "Off-chip memory, keys and values apart."),
    Component("chip_link", "other DRAM, I/O", "Bits over links between chips."),
    Component("io", "other DRAM, I/O", "Pads and links off the chip."),
)


# Of chips that say so: summed up as energy_other_nj in scale.csv, which has no column for them.
_SELDOM: tuple[Component, ...] = (
    Component("bit_line", "crossbar", "Bit lines that a clamp holds."),
    Component("merge", "DAC and sampling", "Capacitors that merge slices before a conversion."),
    Component("input_scale", "other digital", "Inputs brought to codes: maxima and products."),
    Component("tier_switch", "crossbar", "Tiers of tiles made active, one after another."),
    Component("macro_control", "other", "Control of macros, by a share."),
    Component("system_rest", "other", "What a chip draws beside its macros, by a share."),
)


@cache
def _families() -> dict[str, str]:
    return {c.name: c.family for c in (*COMPONENTS, *_SELDOM)}


@cache
def _with_column() -> frozenset[str]:
    return frozenset(c.name for c in COMPONENTS)


def family_of(component: str) -> str:
    """Return the family of a component; a name outside the list is "other".

    Args:
        component: name in the ledger; ``leakage_*`` belongs to "leakage, clock".
    """
    if component == "leakage" or component.startswith("leakage_"):
        return "leakage, clock"
    return _families().get(component, "other")


def component_column(component: str) -> str:
    """Return the column of scale.csv that a component's energy goes to.

    Every leakage row goes to ``energy_leakage_nj``, a name outside the list to
    ``energy_other_nj``.
    """
    if component == "leakage" or component.startswith("leakage_"):
        return "energy_leakage_nj"
    return f"energy_{component}_nj" if component in _with_column() else "energy_other_nj"


def reported_component(component: str, kind: str) -> str:
    """Return the name under which the energy of a ledger row is summed up.

    All leakage is one component. Keys and values in off-chip memory stand apart from those
    on the chip, whatever ledger row they came from.

    Args:
        component: name in the ledger.
        kind: dynamic, leakage or off_chip.
    """
    if kind == "leakage":
        return "leakage"
    if kind == "off_chip" and component in {"kv_read", "kv_write"}:
        return "kv_dram"
    return component
