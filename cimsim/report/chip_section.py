"""The part of a report about one chip: what it is, its figures, layers and largest energies."""

from __future__ import annotations

from math import fsum

from cimsim.report.blocks import Bullets, Field, Grid, Illustration, ReportSection, Text
from cimsim.report.canvas import Picture
from cimsim.report.cells import duration, number, optional, percent, significant, text
from cimsim.report.view import Design
from cimsim.results import Row

__all__ = ["chip_section"]

SHOWN_COMPONENTS = 10


def chip_section(design: Design, pictures: tuple[Picture, ...]) -> ReportSection:
    """Return the section of a chip.

    Args:
        design: the chip.
        pictures: its figures.
    """
    return ReportSection(
        f"chip-{design.index}",
        f"{design.index}. {design.name}",
        (
            Text(_about(design)),
            Bullets(_sentences(design)),
            *(Illustration(p, brief=True) for p in pictures),
            _layers(design),
            _energies(design),
        ),
        level=3,
    )


def _about(design: Design) -> str:
    row = design.row
    weight, inputs = design.bits
    model = row["adc_model"]
    converter = design.adc if model is None else f"{design.adc} (cost model {model})"
    return (
        f"{design.technology}, crossbars: {design.crossbar}, {weight}-bit weights, "
        f"{inputs}-bit inputs, {converter}; {number(row, 'tiles'):,.0f} tiles, "
        f"{significant(number(row, 'area_mm2'))} mm² for {text(row, 'model')}; "
        f"on crossbars: {text(row, 'analog_parts')}; mapper "
        f"{text(row, 'mapper')}, calibrator {text(row, 'calibrator')}, tile mode "
        f"{text(row, 'tile_mode')}; chip {text(row, 'chip_hash')}."
    )


def _range(row: Row) -> str:
    """State the converter range that was found, and what converting costs."""
    top = f"{significant(number(row, 'adc_range_levels'))} levels (mean over matrices)"
    error, least = (optional(row, f"adc_range_{e}") for e in ("error", "least_error"))
    if error is None or least is None:
        lost = "codes of one level hold every sum"
    else:
        lost = f"by converting, outputs of calibration text err by {percent(error)} of their rms"
        if text(row, "adc_range") != "auto":
            lost += f", {percent(least)} with the range of least error"
    return f"ADC range {text(row, 'adc_range')}: top at {top}; {lost}."


def _sentences(design: Design) -> tuple[str, ...]:
    row = design.row
    change = design.calibration_effect.difference
    sure = "" if design.calibration_effect.significant else ", not beyond chance"
    effect = f"Calibration changes perplexity by {change.mean:+.3g}{sure}"
    if text(row, "calibrator") == "identity":
        effect = "No calibration"
    if design.destroyed:
        effect += "; the chip is destroyed"
    tops = [
        f"{text(row, f'energy_top{i}_name')} {percent(number(row, f'energy_top{i}_share'), 0)}"
        for i in (1, 2, 3)
        if row[f"energy_top{i}_name"] is not None
    ]
    found = [
        f"{effect}; top-k agreement "
        f"{percent(number(row, 'topk_agreement'))} to "
        f"{percent(number(row, 'topk_agreement_calibrated'))}; expert load CV "
        f"{significant(number(row, 'expert_load_cv'))} to "
        f"{significant(number(row, 'expert_load_cv_calibrated'))} "
        f"({significant(number(row, 'expert_load_cv_clean'))} in float).",
        f"Energy goes to {', '.join(tops)}. Critical resource: "
        f"{text(row, 'critical_resource')}, busy "
        f"{percent(number(row, 'critical_resource_utilisation'), 0)} of the time.",
    ]
    if row.get("adc_range") is not None:
        found.append(_range(row))
    if design.switches:
        found.append(
            f"{significant(number(row, 'expert_switches_per_token'))} expert switches per token, "
            f"{significant(number(row, 'expert_switch_bytes_per_s') / 1e9)} GB/s of weights; "
            f"{percent(optional(row, 'expert_hit_rate'), 0)} of expert visits find their expert "
            "resident (Belady's optimum: "
            f"{percent(optional(row, 'expert_hit_rate_bound'), 0)}). The visits of a token wait "
            f"{significant(number(row, 'expert_switch_stall_per_token_us'))} us for experts, "
            "summed: they wait side by side."
        )
    life = optional(row, "switch_lifetime_s")
    if life is not None:
        found.append(f"Cells last {duration(life)} at this rate of switching.")
    if design.chip.notes:
        found.append(f"{'; '.join(design.chip.notes)}.")
    return tuple(found)


def _share(title: str, column: str, digits: int = 1) -> Field[Row]:
    return Field(title, lambda r: percent(optional(r, column), digits))


def _amount(title: str, column: str) -> Field[Row]:
    return Field(title, lambda r: significant(optional(r, column)))


def _layers(design: Design) -> Grid:
    """Every decoder layer: size, agreement, load, clipping."""
    return Grid.of(
        "Layers",
        (
            Field("layer", lambda r: f"{number(r, 'layer'):.0f}"),
            Field("block", lambda r: text(r, "block"), words=True),
            Field("crossbars", lambda r: f"{number(r, 'crossbars'):,.0f}"),
            _amount("conversions per token", "conversions_per_token"),
            _share("clipped", "adc_clip_rate", 2),
            _share("top-k agreement", "topk_agreement"),
            _share("calibrated", "topk_agreement_calibrated"),
            _amount("load CV, float", "expert_load_cv_clean"),
            _amount("on the chip", "expert_load_cv"),
            _amount("calibrated", "expert_load_cv_calibrated"),
        ),
        (("", design.chip.per_layer),),
        "n/a: the layer has no router, or nothing of it is converted.",
        page_only=True,
    )


def _energies(design: Design) -> Grid:
    """The largest energy rows of decode, with where their unit energy comes from."""
    phase = f"decode_b{number(design.row, 'latency_batch'):.0f}"
    rows = [
        r
        for r in design.chip.energy
        if text(r, "phase") == phase and r["calibrated"] is True and number(r, "energy_nj") > 0
    ]
    rows.sort(key=lambda r: (-number(r, "energy_nj"), text(r, "component")))
    total = fsum(number(r, "energy_nj") for r in rows)
    shown, rest = rows[:SHOWN_COMPONENTS], len(rows) - SHOWN_COMPONENTS
    more = f" {rest} smaller rows are in energy.csv." if rest > 0 else ""
    return Grid.of(
        f"Largest energies (tiny model, {phase.replace('_b', ', batch ')}, calibrated)",
        (
            Field("component", lambda r: text(r, "component"), words=True),
            Field("kind", lambda r: text(r, "kind").replace("_", "-"), words=True),
            _amount("nJ per token", "energy_per_token_nj"),
            Field("share", lambda r: percent(number(r, "energy_nj") / total)),
            _amount("actions", "count"),
            _amount("fJ per action", "energy_per_action_fj"),
            Field("source", lambda r: text(r, "source"), words=True),
        ),
        (("", shown),),
        "Leakage and rows of published tables count nanoseconds instead of actions "
        f"(fJ/ns = uW).{more}",
        page_only=True,
    )
