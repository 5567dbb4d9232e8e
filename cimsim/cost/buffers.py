"""Tile buffers and their bus: SRAM after CACTI, eDRAM after ISAAC and PUMA.

SRAM energy per bit, area per byte and access time are polynomials of log2(kB) on log axes,
fitted to ten CACTI points (2 kB to 1 MB at 32 and 22 nm); between those nodes they are
interpolated on log axes, outside scaled as logic and flagged.
"""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.config import ChipConfig, Tile
from cimsim.cost.constant import Constant
from cimsim.cost.price import Price
from cimsim.cost.technology import scale_logic
from cimsim.elementary import exp, log, log2

__all__ = [
    "CONSTANTS",
    "SRAM_CONSTANTS",
    "Sram",
    "coefficient_sram",
    "price_bus",
    "price_tile_buffer",
    "scaled_rows",
    "sram",
]

_CACTI = "CACTI as bundled in hwcomponents-cacti 1.0.40, fitted to its points"
# ln(quantity at 32 nm) = c0 + c1 x + c2 x^2 with x = log2(kB); plus `step` at 22 nm.
_FITS = {
    "read": (2.782, 0.3414, 0.0, -0.787),  # fJ/bit, worst point 8.5 %
    "write": (3.3558, 0.2138, 0.0079, -0.8724),  # fJ/bit, 5.0 %
    "area": (7.5277, 0.6474, 0.0057, -0.6557),  # um2, 11.4 %
    "access": (-0.5553, 0.0658, 0.0113, -0.305),  # ns, 3.6 %
}
_NODES_NM = (32.0, 22.0)
_SIZE_RANGE_KB = (2.0, 1024.0)
_LEAK = Constant(
    "buffer.sram_leakage",
    10.0,
    "uW/kB",
    "low end of 10-50 uW/kB of high-performance cells; CACTI's low-standby cells leak about 0",
    32.0,
    "C",
)
_EDRAM_SOURCE = "PUMA simulator: 17.2 pJ for 256 bits, 64 kB"
_EDRAM_ENERGY = Constant("buffer.edram_energy", 17.2 / 256, "pJ/bit", _EDRAM_SOURCE, 32.0, "A")
_EDRAM_AREA = Constant("buffer.edram_area", 0.086 / 64, "mm2/kB", _EDRAM_SOURCE, 32.0, "A")
_EDRAM_LEAK = Constant("buffer.edram_leakage", 460.0 / 64, "uW/kB", _EDRAM_SOURCE, 32.0, "A")
_BUS_SOURCE = "ISAAC eDRAM-to-IMA bus, 384 bits (CiMLoop)"
_BUS_ENERGY = Constant("bus.energy", 0.054, "pJ/bit", _BUS_SOURCE, 32.0, "A")
_BUS_AREA = Constant("bus.area", 0.090 / 384, "mm2/bit", _BUS_SOURCE, 32.0, "C")


CONSTANTS = (
    *(
        Constant(f"buffer.sram_{name}_c{i}", value, "1", _CACTI, 32.0, "A", "log-log fit")
        for name, row in _FITS.items()
        for i, value in enumerate(row[:3])
    ),
    *(
        Constant(f"buffer.sram_{name}_step_22nm", row[3], "1", _CACTI, 22.0, "A", "ln of ratio")
        for name, row in _FITS.items()
    ),
    _LEAK,
    _EDRAM_ENERGY,
    _EDRAM_AREA,
    _EDRAM_LEAK,
    _BUS_ENERGY,
    _BUS_AREA,
)
SRAM_CONSTANTS = CONSTANTS[:-6]


@dataclass(frozen=True)
class Sram:
    """Cost of an SRAM.

    Attributes:
        read_fj: energy of a bit read.
        write_fj: energy of a bit written.
        area_um2: area of the whole memory.
        access_ns: access time.
        leakage_uw: static power of the whole memory.
        notes: extrapolations.
    """

    read_fj: float
    write_fj: float
    area_um2: float
    access_ns: float
    leakage_uw: float
    notes: tuple[str, ...]


def sram(size_kb: float, node_nm: float, vdd_v: float) -> Sram:
    """Return the cost of an SRAM of one size.

    Larger than the largest CACTI point it is banked: banks of 1 MB, one accessed at a
    time, so energy and access time stay and area grows in proportion.

    Args:
        size_kb: capacity.
        node_nm: technology node.
        vdd_v: supply, which matters only where the node leaves 22 to 32 nm.
    """
    notes = []
    banks = max(1.0, size_kb / _SIZE_RANGE_KB[1])
    x = log2(min(max(size_kb, _SIZE_RANGE_KB[0]), _SIZE_RANGE_KB[1]))
    inside = min(max(node_nm, _NODES_NM[1]), _NODES_NM[0])
    share = log(inside / _NODES_NM[0]) / log(_NODES_NM[1] / _NODES_NM[0])
    value = {
        name: exp(c0 + c1 * x + c2 * x * x + share * step)
        for name, (c0, c1, c2, step) in _FITS.items()
    }
    energy = area = 1.0
    if inside != node_nm:
        here, there = scale_logic(32.0, node_nm, vdd_v), scale_logic(32.0, inside, 0.9)
        energy, area = here.energy / there.energy, here.area / there.area
        notes.append(
            f"extrapolated: SRAM at {node_nm:g} nm from CACTI at {inside:g} nm by logic factors"
        )
    if node_nm != _NODES_NM[0]:
        notes.append(f"extrapolated: SRAM leakage of 32 nm used at {node_nm:g} nm")
    small = min(1.0, size_kb / _SIZE_RANGE_KB[0])
    if size_kb < _SIZE_RANGE_KB[0]:
        notes.append(f"extrapolated: {size_kb:g} kB SRAM below the smallest CACTI point, 2 kB")
    return Sram(
        read_fj=value["read"] * energy,
        write_fj=value["write"] * energy,
        area_um2=value["area"] * area * banks * small,
        access_ns=value["access"],
        leakage_uw=_LEAK.value * size_kb,
        notes=tuple(notes),
    )


def coefficient_sram(config: ChipConfig) -> Sram:
    """Return the memory of a tile for 16-bit scales of the inputs that it scales."""
    tech = config.technology
    return sram(scaled_rows(config.tile) * 2 / 1024, tech.node_nm, tech.vdd_v)


def scaled_rows(tile: Tile) -> int:
    """Return the most inputs of a vector that one tile scales: the rows of a PE's crossbars."""
    return tile.pe.crossbars * tile.crossbar.rows


def price_tile_buffer(config: ChipConfig, *, write: bool) -> Price:
    """Return the cost of one tile buffer; an action is one bit read or written."""
    size, tech = config.tile.buffers.size_kb, config.technology
    if config.tile.buffers.kind == "edram":
        node = tech.node_nm
        scaling = scale_logic(32.0, node, tech.vdd_v)
        note = () if node == 32.0 else (f"extrapolated: 32 nm eDRAM at {node:g} nm as logic",)
        # Bit lines of a bank lengthen with the side of the array.
        energy = _EDRAM_ENERGY.value * 1e3 * (size / 64.0) ** 0.5 * scaling.energy
        return Price(
            "tile_buffer",
            energy,
            "eDRAM, energy as the root of size",
            area_um2=_EDRAM_AREA.value * size * 1e6 * scaling.area,
            leakage_uw=_EDRAM_LEAK.value * size,
            idle=config.cost.idle.tile,
            constants=(_EDRAM_ENERGY, _EDRAM_AREA, _EDRAM_LEAK),
            notes=note,
        )
    memory = sram(size, tech.node_nm, tech.vdd_v)
    return Price(
        "tile_buffer",
        memory.write_fj if write else memory.read_fj,
        "SRAM fit",
        area_um2=memory.area_um2,
        leakage_uw=memory.leakage_uw,
        idle=config.cost.idle.tile,
        constants=(*SRAM_CONSTANTS[:3], _LEAK),
        notes=memory.notes,
    )


def price_bus(config: ChipConfig) -> Price:
    """Return the cost of one tile's bus; an action is one bit moved over it."""
    tech = config.technology
    scaling = scale_logic(32.0, tech.node_nm, tech.vdd_v)
    return Price(
        "tile_bus",
        _BUS_ENERGY.value * 1e3 * scaling.energy,
        f"logic x {scaling.energy:.3g} from 32 nm",
        area_um2=_BUS_AREA.value * 1e6 * config.tile.buffers.bus_bits * scaling.area,
        idle=config.cost.idle.tile,
        constants=(_BUS_ENERGY, _BUS_AREA),
        notes=scaling.notes,
    )
