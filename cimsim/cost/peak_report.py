"""Peak figures as plain data and as lines of text."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

from cimsim.cost.catalogue import covered
from cimsim.cost.cooling import AIR, MICROCHANNEL, cooling_of
from cimsim.cost.density import density_words
from cimsim.cost.peak import Peak, power_rows
from cimsim.units import PS_PER_NS

__all__ = ["as_dict", "as_lines", "power_warning", "wrapped"]

_WIDTH = 80


def power_warning(found: Peak) -> str | None:
    """Return what to say of a peak that air does not cool; None of one that it does."""
    cooling = cooling_of(found.w_per_mm2)
    if cooling == "air":
        return None
    who = "no known cooling takes" if cooling == "none known" else "air does not cool"
    return (
        f"{who} {found.power_w:,.4g} W on {found.area_mm2:,.4g} mm2, {found.w_per_mm2:.3g} W/mm2 "
        f"(air about {AIR.value:g}, water in microchannels {MICROCHANNEL.value:g}): the chip "
        "cannot hold this peak, where every crossbar reads without a pause"
    )


def as_dict(found: Peak) -> dict[str, Any]:
    """Return every peak figure with its unit in its name."""
    config, density, warning = found.config, found.density, power_warning(found)
    return {
        "config": config.name,
        "node_nm": config.technology.node_nm,
        "weight_bits": config.tile.weight.bits,
        "input_bits": config.tile.input.bits,
        "adc": _adc(found),
        "tiles": found.cost.mesh.n_tiles,
        "input_bit_density": None if density is None else density.input_bit_density,
        "mean_level_fraction": None if density is None else density.mean_level_fraction,
        "density": density_words(density),
        "tops": found.tops,
        "tops_per_w": found.tops_per_w,
        "tops_per_mm2": found.tops_per_mm2,
        "power_w": found.power_w,
        "power_w_by_kind": {
            kind: fj / found.timing.interval_ps * 1e-3
            for kind, fj in found.ledger.by_kind().items()
        },
        "w_per_mm2": found.w_per_mm2,
        "cooling": cooling_of(found.w_per_mm2),
        "warnings": [] if warning is None else [warning],
        "area_mm2": found.area_mm2,
        "interval_ns": found.timing.interval_ps / PS_PER_NS,
        "latency_ns": found.timing.latency_ps / PS_PER_NS,
        "excluded": sorted(set(config.cost.exclude)),
        "in_table_rows": sorted(covered(config) - set(config.cost.exclude)),
        "notes": list(found.notes),
        "not_modelled": list(found.cost.not_modelled()),
        "power": [
            {"component": n, "mw": mw, "share": share, "source": source}
            for n, mw, share, source in power_rows(found)
        ],
        "area": [
            {"component": r.component, "count": r.count, "mm2": r.mm2, "source": r.source}
            for r in found.cost.area()
        ],
    }


def as_lines(report: dict[str, Any]) -> list[str]:
    """Return a peak report, 80 columns wide: headline, power and area, what is missing."""
    bits = f"{report['weight_bits']}-bit weights, {report['input_bits']}-bit inputs"
    kinds = report["power_w_by_kind"]
    headline = (
        f"{report['config']}: {report['node_nm']:g} nm, {report['tiles']} tiles, {bits}, "
        f"{report['adc']}, 1 MAC = 2 operations"
    )
    figures = (
        f"{report['tops']:.4g} TOPS, {report['tops_per_w']:.4g} TOPS/W, "
        f"{report['tops_per_mm2']:.4g} TOPS/mm2, {report['power_w']:.4g} W (leakage "
        f"{kinds['leakage']:.3g} W, off-chip interfaces {kinds['off_chip']:.3g} W), "
        f"{report['area_mm2']:.4g} mm2, a vector every {report['interval_ns']:g} ns; at "
        f"{report['density']}"
    )
    lines = [
        *wrapped(headline, ""),
        *wrapped(figures),
        *(line for warning in report["warnings"] for line in wrapped(f"warning: {warning}")),
        f"  {'component':<26}{'power mW':>12}{'share':>8}{'area mm2':>12}",
    ]
    area = {row["component"]: row["mm2"] for row in report["area"]}
    power = {row["component"]: row for row in report["power"]}
    for name in dict.fromkeys([*power, *(n for n, mm2 in area.items() if mm2 != 0)]):
        mw = f"{power[name]['mw']:.4g}" if name in power else "-"
        share = f"{power[name]['share']:.1%}" if name in power else "-"
        mm2 = "-" if area.get(name) is None else f"{area[name]:.4g}"
        lines.append(f"  {name:<26}{mw:>12}{share:>8}{mm2:>12}")
    if report["excluded"]:
        lines += wrapped(f"not included: {', '.join(report['excluded'])}")
    lines += wrapped(f"not modelled: {'; '.join(report['not_modelled'])}")
    return [*lines, *(line for note in report["notes"] for line in wrapped(f"note: {note}"))]


def wrapped(text: str, indent: str = "  ", hanging: str = "    ") -> list[str]:
    """Return text in lines of 80 columns, the first and the following ones indented."""
    return wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=hanging)


def _adc(found: Peak) -> str:
    """Name the ADC and the model that prices it."""
    adc = found.config.tile.adc
    if not found.conversions:
        return "no ADC"
    if "adc" in found.config.cost.tables:
        return f"{adc.bits}-bit ADC (table row)"
    return f"{adc.bits}-bit ADC ({found.cost.catalogue.prices['adc'].model})"
