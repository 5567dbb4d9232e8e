"""What the report of a run contains, in order: the page and markdown render the same sections."""

from __future__ import annotations

from typing import Any

from cimsim.report.accuracy_tables import accuracy_grid, calibration_grids
from cimsim.report.answer import ranked_grid
from cimsim.report.baselines import baseline_sections
from cimsim.report.beside import NO_BASELINES, BesideChips
from cimsim.report.blocks import (
    Beside,
    Bullets,
    Definitions,
    Field,
    Folded,
    Grid,
    Illustration,
    ReportSection,
    Text,
)
from cimsim.report.cells import number
from cimsim.report.chip_section import chip_section
from cimsim.report.cost_tables import (
    cost_grid,
    peak_grid,
    peak_warnings,
    scale_grids,
    speed_grid,
    switching_grid,
)
from cimsim.report.figures import Figures
from cimsim.report.findings import ROMER, basis, findings, warnings
from cimsim.report.view import View
from cimsim.report.warning_kinds import by_kind
from cimsim.results import Column, Table

__all__ = ["about_run", "run_sections", "run_title"]

FILES = (
    ("report.html", "This report in one file, without anything from a network."),
    ("report.md", "The same in short, for terminals and code reviews."),
    ("results.csv", "One row per chip and model."),
    ("scale.csv", "The chips at the shape of a full-size model."),
    ("peak.csv", "Peak figures, as run and as published."),
    ("per_layer.csv, per_seed.csv", "Layers, and the chip seeds behind every interval."),
    ("pairs.csv", "Loss against the first chip, in pairs of chip seeds."),
    ("energy.csv", "Energy by component with sources; rows sum to the totals."),
    (
        "tile_load.csv, expert_load.csv, latency.csv, resources.csv",
        "The numbers behind the figures.",
    ),
    ("trace.json.gz", "What every resource does as decode starts; open it at ui.perfetto.dev."),
    ("config.resolved.yaml", "Every knob of every chip with its value."),
    ("manifest.json", "Command, versions, date and wall time."),
    ("figures/", "Every figure as SVG, those over all chips also as PNG."),
    ("chips/", "Tables, trace and resolved file of each chip."),
)
MAIN_FINDINGS = 3
GLOSSARY = ("results", "scale", "peak")


def run_title(view: View) -> str:
    """Return the title of the report of a run."""
    if len(view.designs) == 1:
        return f"cimsim: {view.designs[0].name} with {view.models[0]}"
    return f"cimsim: {len(view.designs)} chips with {', '.join(view.models)}"


def about_run(view: View) -> str:
    """Return one line about a run."""
    tokens, context = (
        sorted({int(number(d.row, column)) for d in view.designs})
        for column in ("tokens", "context")
    )
    seeds = f"{view.seeds} chip seed{'s' if view.seeds != 1 else ''}"
    return (
        f"{_span(tokens)} scored tokens of {view.run.text_name} in windows of {_span(context)}; "
        f"{seeds} each; run {view.run.run_hash[:12]}."
    )


def _span(values: list[int]) -> str:
    if len(values) == 1:
        return f"{values[0]:,}"
    return f"{values[0]:,} to {values[-1]:,}"


def run_sections(
    view: View, figures: Figures, beside: BesideChips = NO_BASELINES
) -> tuple[ReportSection, ...]:
    """Return the sections of the report of a run.

    Args:
        view: the run, with at least one chip.
        figures: what was drawn.
        beside: digital baselines.
    """
    return (
        *_answer(view, figures),
        ReportSection(
            "accuracy", "Accuracy", (accuracy_grid(view), Illustration(figures.perplexity))
        ),
        *_full_size(view, figures),
        *baseline_sections(beside),
        ReportSection("peak", "Peak", (peak_grid(view), Bullets(peak_warnings(view)))),
        ReportSection(
            "calibration", "Calibration", (Text(ROMER, page_only=True), *calibration_grids(view))
        ),
        ReportSection(
            "tiny",
            "Tiny model: speed and energy",
            (
                Text(
                    "What the event engine measured with the model whose accuracy is given above. "
                    "Compare chips at full size, not here."
                ),
                speed_grid(view),
                cost_grid(view),
                *((switching_grid(view),) if view.switches else ()),
                Illustration(figures.energy_tiny),
            ),
        ),
        ReportSection("chips", "Chip by chip", ()),
        *(chip_section(d, p) for d, p in zip(view.designs, figures.chips, strict=True)),
        ReportSection("basis", "What the numbers mean", (Definitions(tuple(basis(view))),)),
        ReportSection(
            "glossary",
            "Glossary",
            (
                Text(
                    "Every column of results.csv, scale.csv and peak.csv. “cimsim explain COLUMN” "
                    "prints the same, and the columns of the other tables.",
                    page_only=True,
                ),
                *(_glossary(t) for t in view.run.schema if t.name in GLOSSARY),
            ),
        ),
        ReportSection("files", "Files of this run", (Definitions(FILES, code=True),)),
    )


def _answer(view: View, figures: Figures) -> tuple[ReportSection, ReportSection]:
    """Return one screen of answer, and what to mind when reading it."""
    said = tuple(findings(view))
    folded = by_kind(warnings(view), [d.name for d in view.designs])
    compared = Beside(Illustration(figures.accuracy_energy), ranked_grid(view))
    return (
        ReportSection("findings", "Findings", (Bullets(said[:MAIN_FINDINGS]), compared)),
        ReportSection(
            "mind", "What to mind", (Bullets(said[MAIN_FINDINGS:]), Folded(folded, "Warnings"))
        ),
    )


def _full_size(view: View, figures: Figures) -> tuple[ReportSection, ...]:
    grids = scale_grids(view)
    if not grids:
        return ()
    first = Text("Each chip's tile carried to the shape of a full-size model. Compare chips here.")
    drawn = () if figures.energy is None else (Illustration(figures.energy),)
    return (ReportSection("scale", "Full-size model", (first, *grids[:1], *drawn, *grids[1:])),)


def _glossary(table: Table[Any]) -> Grid:
    return Grid.of(
        f"{table.name}.csv",
        (
            Field[Column[Any]]("column", lambda c: c.name, words=True, code=True),
            Field[Column[Any]]("unit", lambda c: c.unit, words=True),
            Field[Column[Any]]("meaning", _meaning, words=True),
        ),
        (("", table.columns),),
        page_only=True,
    )


def _meaning(column: Column[Any]) -> str:
    formula = f" = {column.formula}." if column.formula else ""
    empty = f" Empty: {column.empty_when}." if column.empty else ""
    return f"{column.meaning}{formula}{empty}"
