"""Named quantities that published figures are compared with.

A quantity is written ``name`` or ``name(component, component)`` in the checks; each is read
off a chip's peak evaluation or off one of its prices.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cimsim.config.converter import ZigzagAdc
from cimsim.cost.adc_fits import zigzag_delay_ns
from cimsim.cost.buffers import sram
from cimsim.cost.crossbar import cell_read_fj
from cimsim.cost.peak import Peak
from cimsim.errors import CimsimInternalError
from cimsim.units import FJ_PER_NJ, FJ_PER_PJ, PS_PER_NS

__all__ = ["evaluate", "reads_energy"]

_CALL = re.compile(r"(?P<name>[a-z0-9_]+)(\((?P<args>[a-z0-9_, ]*)\))?\Z")


def _bit_ops(found: Peak) -> float:
    """Operations counted per weight bit and input bit: one-bit operations of one interval."""
    return 2.0 * found.macs * found.config.tile.weight.bits * found.config.tile.input.bits


def _energy_fj(found: Peak, names: tuple[str, ...]) -> float:
    return sum(found.ledger.total_fj(component=n) for n in names)


def _memory(found: Peak, what: str) -> float:
    tech, size = found.config.technology, found.config.tile.buffers.size_kb
    return float(getattr(sram(size, tech.node_nm, tech.vdd_v), what))


def _adc_delay_ns(found: Peak, _: tuple[str, ...]) -> float:
    adc = found.config.tile.adc
    if not isinstance(adc, ZigzagAdc):
        message = "conversion times are modelled for zigzag ADCs only"
        raise CimsimInternalError(message)
    return zigzag_delay_ns(adc.bits, found.config.tile.crossbar.rows)


def _bit_share(found: Peak, _: tuple[str, ...]) -> float:
    """Share of a digital crossbar's energy that grows with the weight's bits."""
    cost, tile = found.config.cost, found.config.tile
    bits = (cost.digital_bit_fj or 0.0) * tile.weight.bits * tile.dac.bits
    return bits / float(cell_read_fj(found.config, 0.5, 0.5))


_QUANTITIES: dict[str, Callable[[Peak, tuple[str, ...]], float]] = {
    "tops": lambda p, _: p.tops,
    "gops": lambda p, _: p.tops * 1e3,
    "tops_w": lambda p, _: p.tops_per_w,
    "gops_w": lambda p, _: p.tops_per_w * 1e3,
    "tops_mm2": lambda p, _: p.tops_per_mm2,
    "gops_mm2": lambda p, _: p.tops_per_mm2 * 1e3,
    "power_w": lambda p, _: p.power_w,
    "area_mm2": lambda p, _: p.area_mm2,
    "interval_ns": lambda p, _: p.timing.interval_ps / PS_PER_NS,
    "depth": lambda p, _: float(p.depth),
    "part_power_w": lambda p, n: p.power_mw(*n) * 1e-3,
    "tile_power_w": lambda p, n: p.power_mw(*n) * 1e-3 / p.cost.mesh.n_tiles,
    "core_power_mw": lambda p, n: p.power_mw(*n) / p.cost.mesh.n_tiles / 8,
    "part_area_mm2": lambda p, n: p.areas_mm2(*n),
    "part_area_um2": lambda p, n: p.areas_mm2(*n) * 1e6,
    "tile_area_mm2": lambda p, n: p.areas_mm2(*n) / p.cost.mesh.n_tiles,
    "power_share": lambda p, n: p.power_mw(n[0]) / p.power_mw(*n),
    "area_share": lambda p, n: p.areas_mm2(*n) / p.area_mm2,
    "capacity_mb": lambda p, _: (
        p.cost.mesh.n_tiles
        * p.config.tile.crossbars
        * p.config.tile.crossbar.rows
        * p.config.tile.crossbar.cols
        * p.config.tile.device.cell_bits
        / 8e6
    ),
    "tops_1b": lambda p, _: _bit_ops(p) / p.timing.interval_ps,
    "tops_w_1b": lambda p, n: _bit_ops(p) / (_energy_fj(p, n) / FJ_PER_PJ),
    "tops_mm2_1b": lambda p, _: _bit_ops(p) / p.timing.interval_ps / p.area_mm2,
    "pj_per_use": lambda p, n: _energy_fj(p, n) / FJ_PER_PJ / p.conversions,
    "nj_per_tile_vector": lambda p, _: p.ledger.total_fj() / FJ_PER_NJ / p.cost.mesh.n_tiles,
    "unit_pj": lambda p, n: p.cost.catalogue.fj(n[0]) / FJ_PER_PJ,
    "adc_pj": lambda p, _: p.cost.catalogue.fj("adc") / FJ_PER_PJ,
    "adc_um2": lambda p, _: p.cost.catalogue.prices["adc"].area_um2 or 0.0,
    "adc_delay_ns": _adc_delay_ns,
    "sram_read_fj": lambda p, _: _memory(p, "read_fj"),
    "sram_write_fj": lambda p, _: _memory(p, "write_fj"),
    "sram_um2": lambda p, _: _memory(p, "area_um2"),
    "sram_access_ns": lambda p, _: _memory(p, "access_ns"),
    "mac_fj": lambda p, _: p.ledger.total_fj(component="crossbar") / p.macs,
    "bit_share": _bit_share,
}


# Quantities made of energy, and the components whose energy depends on the density of the data.
_OF_ENERGY = (
    *("tops_w", "gops_w", "tops_w_1b", "power_w", "part_power_w", "tile_power_w"),
    *("core_power_mw", "power_share", "pj_per_use", "nj_per_tile_vector", "mac_fj"),
)
_OF_DATA = {"crossbar", "dac"}


def reads_energy(quantity: str) -> bool:
    """Whether a quantity, written as in `evaluate`, contains the energy of cells or drivers."""
    name, names = _split(quantity)
    return name in _OF_ENERGY and (not names or not _OF_DATA.isdisjoint(names))


def evaluate(quantity: str, found: Peak) -> float:
    """Return a quantity of a chip.

    Args:
        quantity: ``name`` or ``name(component, ...)``.
        found: the chip at peak.
    """
    name, names = _split(quantity)
    return float(_QUANTITIES[name](found, names))


def _split(quantity: str) -> tuple[str, tuple[str, ...]]:
    """Return the name of a quantity and its components."""
    match = _CALL.match(quantity)
    if match is None or match["name"] not in _QUANTITIES:
        message = f"no such quantity: {quantity}"
        raise CimsimInternalError(message)
    return match["name"], tuple(n.strip() for n in (match["args"] or "").split(",") if n.strip())
