"""Columns of peak.csv: what a chip could do if every crossbar were busy all the time."""

from __future__ import annotations

from cimsim.results.column import Column, Table

__all__ = ["AS_PUBLISHED", "AS_RUN", "PEAK"]

AS_RUN, AS_PUBLISHED = "as run", "as published"
_G = "Peak"


def _amount(name: str, unit: str, meaning: str, formula: str = "") -> Column:
    return Column(name, unit, "number", meaning, formula, _G, minimum=0.0)


def _count(name: str, unit: str, meaning: str) -> Column:
    return Column(name, unit, "integer", meaning, group=_G, minimum=0)


def _density(name: str, meaning: str) -> Column:
    empty = "the energy of the chip does not depend on the data"
    return Column(name, "1", "number", meaning, "", _G, empty, minimum=0.0, maximum=1.0)


PEAK = Table(
    "peak",
    "One row a chip and form: as run (the tiles that hold the model, at the bits of the run) and, "
    "where published figures check it, the published chip with its tile count and bits.",
    (
        Column("config", "", "text", "Name of the chip.", group="Identity"),
        Column("model", "", "text", "Name of the checkpoint.", group="Identity"),
        Column("form", "", "text", f"{AS_RUN} or {AS_PUBLISHED}.", group="Identity"),
        Column("preset", "", "text", "Chip file of this form.", group="Identity"),
        Column("node_nm", "nm", "number", "Process node.", group="Identity", minimum=1.0),
        _count("weight_bits", "bit", "Bits of a weight; an operation is at these bits."),
        _count("input_bits", "bit", "Bits of an input."),
        _count("tiles", "1", "Tiles; 0 on a chip that is digital units alone."),
        _amount(
            "peak_tops",
            "TOPS",
            "Operations a second with every crossbar full and busy, as fast as the ADCs of its PE "
            "convert; of digital units on a chip without crossbars. 1 MAC = 2 operations.",
        ),
        _density("input_bit_density", "Mean input over the greatest, at which energy is charged."),
        _density("mean_level_fraction", "Mean conductance over the greatest, of the same."),
        Column(
            "density_origin",
            "",
            "text",
            "Where both are from: measured by the run, chip file or documented default; none "
            "where energy does not depend on them.",
            group=_G,
        ),
        _amount(
            "peak_tops_per_w", "TOPS/W", "The same over peak power.", "peak_tops / peak_total_w"
        ),
        _amount(
            "peak_tops_per_mm2", "TOPS/mm2", "The same over area.", "peak_tops / peak_area_mm2"
        ),
        _amount("peak_total_w", "W", "Power at peak: dynamic, leakage and off-chip interfaces."),
        _amount("peak_leakage_w", "W", "Leakage in it."),
        _amount("peak_off_chip_w", "W", "Off-chip interfaces in it."),
        _amount("peak_area_mm2", "mm2", "On-chip area of this form."),
        _amount(
            "peak_w_per_mm2",
            "W/mm2",
            "Peak power of a square millimetre.",
            "peak_total_w / peak_area_mm2",
        ),
        Column(
            "peak_cooling",
            "",
            "text",
            "Least cooling that takes it: air, microchannels or none known (cooling.air, "
            "cooling.microchannel).",
            group=_G,
        ),
        Column("excluded", "", "text", "Components that this form does not include.", group=_G),
    ),
)
