"""Every component of a chip, priced once: the models joined to the chip's overrides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt

from cimsim.chip import ChipMesh
from cimsim.chip.tiling import column_layout
from cimsim.config import ChipConfig
from cimsim.cost import (
    adc,
    bit_line,
    buffers,
    cells,
    chip_link,
    clock,
    comparator_adc,
    cooling,
    crossbar,
    dac,
    density,
    digital,
    dram,
    input_scale,
    merge,
    noc,
    programming,
    registers,
    rest,
    sample_hold,
    shift_add,
    supply,
    technology,
)
from cimsim.cost.components import COMPONENTS
from cimsim.cost.constant import Constant
from cimsim.cost.price import Price
from cimsim.errors import CimsimError, nearest
from cimsim.units import FJ_PER_PJ, UM2_PER_MM2

__all__ = ["COMPANION", "Catalogue", "all_constants", "covered", "price_chip"]

# Said of rows of the block that published chips lack (`cost.companion`).
COMPANION = " [companion, not in the published chip]"


def all_constants() -> tuple[Constant, ...]:
    """Return every constant of every component model."""
    modules = (
        adc,
        comparator_adc,
        dac,
        cells,
        crossbar,
        bit_line,
        merge,
        density,
        sample_hold,
        shift_add,
        registers,
        buffers,
        noc,
        chip_link,
        digital,
        dram,
        programming,
        clock,
        technology,
        supply,
        rest,
        cooling,
    )
    return tuple(c for m in modules for c in m.CONSTANTS)


@dataclass(frozen=True)
class Catalogue:
    """Prices of a chip's components.

    Attributes:
        prices: by component; `tile_buffer` is its read, `tile_buffer_write` its write.
        tile_um2: area of one tile.
        pitch_mm: length of a link: given, or the side of a tile.
        per_tile: instances of a component in a tile.
    """

    prices: Mapping[str, Price]
    tile_um2: float
    pitch_mm: float
    per_tile: Mapping[str, float]

    def fj(self, component: str) -> float:
        """Return the energy of one action; 0 only where another component carries it."""
        return self.prices[component].energy_fj or 0.0

    def instances(self, config: ChipConfig, mesh: ChipMesh) -> dict[str, float]:
        """Return how many of each component with an area or leakage the whole system has."""
        tiles = mesh.n_tiles if config.chip.analog_parts else 0
        counts = {name: count * tiles for name, count in self.per_tile.items()}
        counts["noc_router"] = float(mesh.n_routers)
        return counts | dict.fromkeys(digital.PARTS, float(mesh.n_digital))

    @property
    def notes(self) -> tuple[str, ...]:
        """Every extrapolation and assumption behind the prices, each once."""
        return tuple(dict.fromkeys(n for p in self.prices.values() for n in p.notes))


def price_chip(config: ChipConfig, router_ports: float) -> Catalogue:
    """Price every component of a chip.

    Args:
        config: the chip.
        router_ports: ports of a router of its network, the mean over routers.

    Raises:
        CimsimError: if a component lies outside its model, or an override names none.
    """
    _check_names(config)
    prices = _tile_prices(config)
    per_tile = _instances(config)
    control = rest.price_control(config, _overridden(config, prices), per_tile)
    if control is not None:
        prices[control.component], per_tile[control.component] = control, 1.0
    tile_um2 = _tile_area(config, _overridden(config, prices), per_tile)
    pitch = config.noc.tile_pitch_mm or sqrt(tile_um2 / UM2_PER_MM2)
    prices |= _chip_prices(config, prices, pitch, router_ports)
    return Catalogue(_overridden(config, prices), tile_um2, pitch, per_tile)


def _overridden(config: ChipConfig, prices: Mapping[str, Price]) -> dict[str, Price]:
    """Return prices with the chip file's own numbers in place of the models'."""
    found = dict(prices)
    for name, override in config.cost.overrides.items():
        for key in [name, "tile_buffer_write"] if name == "tile_buffer" else [name]:
            if key in found:
                found[key] = found[key].overridden(override, config.technology.vdd_v)
    return found


def covered(config: ChipConfig) -> set[str]:
    """Return components without rows of their own: in a table row, or excluded."""
    found = set(config.cost.tables) | set(config.cost.exclude)
    for table in config.cost.tables.values():
        found.update(table.covers)
    return found


def _check_names(config: ChipConfig) -> None:
    cost = config.cost
    named = [(f"cost.overrides.{name}", name) for name in cost.overrides]
    named += [("cost.exclude", name) for name in cost.exclude]
    named += [(f"cost.tables.{row}.covers", n) for row, t in cost.tables.items() for n in t.covers]
    for key, name in named:
        if name not in COMPONENTS:
            raise CimsimError(
                "is not a component",
                key=key,
                value=name,
                allowed=", ".join(COMPONENTS),
                hint=nearest(name, COMPONENTS),
            )


def _tile_prices(config: ChipConfig) -> dict[str, Price]:
    tile, tech = config.tile, config.technology
    found = [
        crossbar.price_crossbar(config),
        dac.price_dac(config),
        shift_add.price_shift_add(config),
        registers.price_input_register(config),
        registers.price_output_register(config),
        buffers.price_tile_buffer(config, write=False),
        buffers.price_bus(config),
        programming.price_program(config),
    ]
    if tile.crossbar.kind == "analog":
        found.append(adc.price_adc(tile, tech.node_nm, tech.vdd_v))
        found.append(sample_hold.price_sample_hold(config))
        seldom = (bit_line.price_bit_line(config), merge.price_merge(config))
        found += [price for price in seldom if price is not None]
    if tile.tiers > 1:
        switch_fj = tile.tier_switch_pj * FJ_PER_PJ
        found.append(Price("tier_switch", switch_fj, "tile.tier_switch_pj"))
    scaler = input_scale.price_input_scale(config)
    if scaler is not None:
        found.append(scaler)
    prices = {p.component: p for p in found}
    prices["tile_buffer_write"] = buffers.price_tile_buffer(config, write=True)
    return prices


def _instances(config: ChipConfig) -> dict[str, float]:
    """Return instances of each component in one tile."""
    tile = config.tile
    crossbars = float(tile.crossbars)
    counts = {
        "crossbar": crossbars,
        "dac": crossbars * tile.crossbar.rows,
        "input_register": float(tile.pes),
        "output_register": float(tile.pes),
        "tile_buffer": 1.0,
        "tile_bus": 1.0,
    }
    if input_scale.is_charged(config):
        counts["input_scale"] = 1.0
    if tile.crossbar.kind == "analog":
        counts["adc"] = float(tile.pes * tile.adc.per_pe)
        counts["sample_hold"] = crossbars * tile.crossbar.cols
        counts["shift_add"] = counts["adc"]
        layout = column_layout(tile)
        if layout.merged:
            counts["merge"] = crossbars * merge.merges_in_crossbar(layout)
    return counts


def _tile_area(
    config: ChipConfig, prices: Mapping[str, Price], per_tile: Mapping[str, float]
) -> float:
    """Return the area of one tile at its final prices, table rows included."""
    total, skip = 0.0, covered(config)
    for name, count in per_tile.items():
        if name not in skip:
            total += count * (prices[name].area_um2 or 0.0)
    for table in config.cost.tables.values():
        if table.per == "tile":
            total += table.groups * table.area_mm2 * UM2_PER_MM2
    return total


def _chip_prices(
    config: ChipConfig, prices: Mapping[str, Price], pitch_mm: float, router_ports: float
) -> dict[str, Price]:
    """Price what depends on the size of a tile, and what lies outside tiles."""
    found = {
        "noc_router": noc.price_router(config, router_ports),
        "noc_link": noc.price_link(config, pitch_mm),
        "clock": clock.price_clock(config, pitch_mm),
        "digital_unit": digital.price_digital(config),
        "kv_sram": digital.price_unit_memory(config, "kv"),
        "weight_sram": digital.price_unit_memory(config, "weight"),
    }
    if config.system.chips > 1:
        found["chip_link"] = chip_link.price_chip_link(config)
    outside = (dram.price_dram(config), chip_link.price_io(config), rest.price_rest(config))
    for price in outside:
        if price is not None:
            found[price.component] = price
    found |= _derived(config, prices, found)
    return found


def _derived(
    config: ChipConfig, prices: Mapping[str, Price], chip: Mapping[str, Price]
) -> dict[str, Price]:
    """Price actions that combine other components."""
    found, unit = {}, replace(chip["digital_unit"], area_um2=None, model="digital unit")
    for use, component in digital.COMPONENT_OF_MAC.items():
        found[component] = replace(unit, component=component, energy_fj=digital.mac_fj(config, use))
    for use, component in digital.COMPONENT_OF_ELEMENT.items():
        if component not in found and component != "input_scale":  # a part of tiles, if any
            energy = digital.element_fj(config, use)
            found[component] = replace(unit, component=component, energy_fj=energy)
    kv = digital.price_unit_memory(config, "kv")
    memory = buffers.sram(
        config.digital.kv_sram_kb, config.technology.node_nm, config.technology.vdd_v
    )
    for component, energy in (("kv_read", memory.read_fj), ("kv_write", memory.write_fj)):
        found[component] = replace(
            kv, component=component, energy_fj=energy, area_um2=None, leakage_uw=None
        )
    # A partial sum leaves one register and enters another over the bus, then is added.
    register, bus = prices["output_register"], prices["tile_bus"]
    step = (prices["shift_add"].energy_fj or 0.0) / shift_add.PARTIAL_SUM_BITS
    moved = 2 * (register.energy_fj or 0.0) + (bus.energy_fj or 0.0) + step
    found["psum_traffic"] = Price(
        "psum_traffic",
        moved,
        "two registers, bus and adder per bit",
        idle=register.idle,
        constants=register.constants + bus.constants,
        notes=register.notes,
    )
    return found | {"input_broadcast": _broadcast(config, prices)}


def _broadcast(config: ChipConfig, prices: Mapping[str, Price]) -> Price:
    """Price the wire from the bus to one crossbar: the side of a PE."""
    per_tile = _instances(config)
    inside = [n for n in per_tile if n not in {"tile_buffer", "tile_bus", "input_scale"}]
    pe_um2 = sum(per_tile[n] * (prices[n].area_um2 or 0.0) for n in inside) / config.tile.pes
    side_mm = sqrt(pe_um2 / UM2_PER_MM2)
    return Price(
        "input_broadcast",
        noc.WIRE.value * 1e3 * side_mm,
        f"wire over a PE of {side_mm:.3g} mm to each crossbar",
        idle=config.cost.idle.tile,
        constants=(noc.WIRE,),
    )
