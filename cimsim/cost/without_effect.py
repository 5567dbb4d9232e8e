"""Cost knobs that a chip file sets and that its other choices make pointless."""

from __future__ import annotations

from cimsim.config import ChipConfig
from cimsim.cost.catalogue import covered
from cimsim.cost.density import recovers, searches, skips_reads
from cimsim.cost.input_scale import is_charged

__all__ = ["knobs_without_effect", "reads_density"]


def reads_density(config: ChipConfig) -> bool:
    """Whether the energy of cells or row drivers depends on the data of this chip."""
    return _cells_read_density(config) or _priced_by_model(config, "dac")


def _cells_read_density(config: ChipConfig) -> bool:
    measured = config.tile.crossbar.kind == "digital" and config.cost.digital_bit_fj is not None
    return not measured and _priced_by_model(config, "crossbar")


def _priced_by_model(config: ChipConfig, component: str) -> bool:
    """Whether a component has an energy that is neither given nor part of a table row."""
    override = config.cost.overrides.get(component)
    given = override is not None and override.energy_fj is not None
    return bool(config.chip.analog_parts) and not given and component not in covered(config)


def knobs_without_effect(config: ChipConfig) -> tuple[str, ...]:
    """Return a warning for every cost knob that is set and has no effect on this chip."""
    cost, tile = config.cost, config.tile
    digital = tile.crossbar.kind == "digital"
    sram = tile.device.technology == "sram"
    reasons = {
        "drive_ns": digital or sram or tile.dac.kind == "pwm",
        "cell_cap_ff": digital or not sram,
        "booth": not digital or cost.digital_bit_fj is not None,
        "tree_registers": not digital,
        "register_ns": not digital or not cost.tree_registers,
        "digital_bit_fj": not digital,
        "digital_row_fj": not digital or cost.digital_bit_fj is None,
        "input_bit_density": not reads_density(config),
        "mean_level_fraction": not _cells_read_density(config),
        "input_scale": tile.input.scale == "static",
        "skipped_share": not skips_reads(config),
        "recovered_share": not recovers(config),
        "search_cycles": not searches(config),
        "cells_per_product": not digital or cost.cell_area_um2 is not None,
    }
    found = _scope_without_effect(config)
    if tile.crossbar.sense.kind == "clamp" and (digital or sram):
        found.append("tile.crossbar.sense has no effect: no cell of this chip draws a read current")
    found += [
        f"cost.{name} has no effect with these cells, drivers and crossbars"
        for name, ignored in reasons.items()
        if ignored and getattr(cost, name) != type(cost).model_fields[name].default
    ]
    absent = {"adc", "sample_hold"} if digital else set()
    if config.memory.kind == "none":
        absent.add("dram")
    if digital or tile.crossbar.sense.kind == "ideal":
        absent.add("bit_line")
    if digital or tile.pe.merge.kind == "none":
        absent.add("merge")
    if not is_charged(config):
        absent.add("input_scale")
    if tile.tiers == 1:
        absent.add("tier_switch")
        found += [
            f"tile.{name} has no effect: tiles have one tier"
            for name in ("tier_switch_ns", "tier_switch_pj")
            if getattr(tile, name)
        ]
    if cost.scope != "system":
        absent |= {"system_rest"} if cost.scope == "macro" else {"system_rest", "macro_control"}
    if config.system.chips == 1:
        absent.add("chip_link")
    if config.system.io_pj_per_bit is None:
        absent.add("io")
    found += [
        f"cost.overrides.{name} has no effect: the chip has no {name}"
        for name in sorted(absent & set(cost.overrides))
    ]
    return (*found, *_system_without_effect(config))


def _scope_without_effect(config: ChipConfig) -> list[str]:
    """Warn of shares that the scope of the figures does not take."""
    cost, wanted = config.cost, {"control_share": "macro", "control_area_share": "macro"}
    wanted["system_factor"] = "system"
    scopes = ("parts", "macro", "system")
    return [
        f"cost.{name} has no effect: cost.scope is {cost.scope}"
        for name, scope in wanted.items()
        if getattr(cost, name) is not None and scopes.index(cost.scope) < scopes.index(scope)
    ]


def _system_without_effect(config: ChipConfig) -> list[str]:
    """Warn of knobs of links between chips on a system of one chip, and of I/O in a table."""
    system, found = config.system, []
    if system.chips == 1:
        if system.placement != type(system).model_fields["placement"].default:
            found.append("system.placement has no effect with one chip")
        link = system.link
        found += [
            f"system.link.{name} has no effect with one chip"
            for name, field in type(link).model_fields.items()
            if getattr(link, name) != field.default
        ]
    if system.io_pj_per_bit is not None and "io" in config.cost.tables:
        found.append("system.io_pj_per_bit has no effect: cost.tables.io charges chip I/O")
    return found
