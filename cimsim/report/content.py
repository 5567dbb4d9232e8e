"""What a report contains, in order: the page and the markdown show the same content."""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.report.calibration_tables import calibration_grids
from cimsim.report.cells import number, significant, text
from cimsim.report.chip_tables import energy_rows_grid, layer_grid
from cimsim.report.comparison import (
    accuracy_grid,
    cost_grid,
    peak_grid,
    scale_grid,
    speed_grid,
)
from cimsim.report.findings import basis, findings, warnings
from cimsim.report.grid import Grid
from cimsim.report.switching_table import switching_grid
from cimsim.report.view import Design, View

__all__ = ["FILES", "ChipContent", "Content", "build_content"]

FILES = (
    ("report.html", "This report in one file, without anything from a network."),
    ("report.md", "The same in short, for terminals and code reviews."),
    ("results.csv", "One row a chip and model."),
    ("scale.csv", "The chips at the shape of a full-size model."),
    ("peak.csv", "Peak figures, as run and as published."),
    ("per_layer.csv, per_seed.csv", "Layers, and the chip seeds behind every interval."),
    ("pairs.csv", "Loss against the first chip, in pairs of chip seeds."),
    ("energy.csv", "Energy by component with sources; rows sum to the totals."),
    (
        "tile_load.csv, expert_load.csv, latency.csv, resources.csv",
        "The numbers behind the figures.",
    ),
    (
        "trace.json.gz",
        "What every resource does as decode starts; open it at ui.perfetto.dev.",
    ),
    ("config.resolved.yaml", "Every knob of every chip with its value."),
    ("manifest.json", "Command, versions, date and wall time."),
    ("figures/", "Every figure as SVG, those over all chips also as PNG."),
    ("chips/", "Tables, trace and resolved file of each chip."),
)


@dataclass(frozen=True)
class ChipContent:
    """The part of a report about one chip.

    Attributes:
        design: the chip.
        about: one line about it.
        layers: table of its layers.
        energies: table of its largest energies.
    """

    design: Design
    about: str
    layers: Grid
    energies: Grid


@dataclass(frozen=True)
class Content:
    """Everything a report says, but its figures.

    Attributes:
        title: title of the report.
        about: one line about the run.
        findings: main results, a sentence each.
        warnings: what must not be overlooked.
        accuracy: table.
        scale: table of full-size results, or None.
        peak: table of peak figures.
        calibration: tables.
        speed: table.
        cost: table.
        switching: table, or None where every chip holds all of its experts.
        chips: part of every chip.
        basis: what the numbers mean.
    """

    title: str
    about: str
    findings: list[str]
    warnings: list[str]
    accuracy: Grid
    scale: Grid | None
    peak: Grid
    calibration: tuple[Grid, ...]
    speed: Grid
    cost: Grid
    switching: Grid | None
    chips: tuple[ChipContent, ...]
    basis: list[tuple[str, str]]


def build_content(view: View) -> Content:
    """Put the content of a report together.

    Args:
        view: the run, with at least one chip.
    """
    some = any(d.chip.scale for d in view.designs)
    return Content(
        title=_title(view),
        about=_about(view),
        findings=findings(view),
        warnings=warnings(view),
        accuracy=accuracy_grid(view),
        scale=scale_grid(view) if some else None,
        peak=peak_grid(view),
        calibration=calibration_grids(view),
        speed=speed_grid(view),
        cost=cost_grid(view),
        switching=switching_grid(view),
        chips=tuple(
            ChipContent(d, _about_chip(d), layer_grid(d), energy_rows_grid(d)) for d in view.designs
        ),
        basis=basis(view),
    )


def _title(view: View) -> str:
    if len(view.designs) == 1:
        return f"{view.designs[0].name} with {view.models[0]}"
    return f"{len(view.designs)} chips with {', '.join(view.models)}"


def _about(view: View) -> str:
    tokens = sorted({int(number(d.row, "tokens")) for d in view.designs})
    context = sorted({int(number(d.row, "context")) for d in view.designs})
    seeds = f"{view.seeds} chip seed{'s' if view.seeds != 1 else ''}"
    return (
        f"{_span(tokens)} scored tokens of {view.run.text_name} in windows of {_span(context)}; "
        f"{seeds} each; run {view.run.run_hash[:12]}."
    )


def _span(values: list[int]) -> str:
    if len(values) == 1:
        return f"{values[0]:,}"
    return f"{values[0]:,} to {values[-1]:,}"


def _about_chip(design: Design) -> str:
    row = design.row
    weight, inputs = design.bits
    return (
        f"{design.technology}, crossbars: {design.crossbar}, {weight}-bit weights, "
        f"{inputs}-bit inputs, {_converter(design)}; {number(row, 'tiles'):,.0f} tiles, "
        f"{significant(number(row, 'area_mm2'))} mm² for {text(row, 'model')}; "
        f"on crossbars: {text(row, 'analog_parts')}; mapper "
        f"{text(row, 'mapper')}, calibrator {text(row, 'calibrator')}, tile mode "
        f"{text(row, 'tile_mode')}; chip {text(row, 'chip_hash')}."
    )


def _converter(design: Design) -> str:
    model = design.row["adc_model"]
    return design.adc if model is None else f"{design.adc} (cost model {model})"
