"""What the report of a sweep contains, in order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from cimsim.report.blocks import (
    Block,
    Bullets,
    Chart,
    ChartData,
    Definitions,
    Field,
    Grid,
    Illustration,
    ReportSection,
)
from cimsim.report.canvas import Picture
from cimsim.report.cells import significant
from cimsim.report.sweep_effects import draw_main_effects, draw_shares, shares_grid
from cimsim.report.sweep_fronts import draw_fronts
from cimsim.report.sweep_parallel import ParallelAxis, draw_parallel, parallel_axes
from cimsim.report.sweep_view import Measure, ShownPoint, SweepView

__all__ = ["sweep_pictures", "sweep_sections"]

WORDS = {
    "front": "on the front",
    "meets": "meets",
    "misses": "misses",
    "dropped": "dropped",
    "failed": "failed",
}
FILES = (
    ("report.html", "This report in one file, without anything from a network."),
    ("sweep.csv, sweep.parquet", "One row per point with every column (Parquet where pyarrow is)."),
    ("points/NAME/chip.yaml", "The resolved chip: cimsim run takes it."),
    ("points/NAME/rung0.json", "What evaluating it gave, on every rung of the ladder."),
    ("figures/", "Every figure as SVG."),
    ("plan.json", "What the points follow from; the same command goes on with it."),
)


def sweep_sections(view: SweepView) -> tuple[tuple[ReportSection, ...], tuple[Picture, ...]]:
    """Return the sections of the report of a sweep, and its figures."""
    fronts = draw_fronts(view)
    axes = parallel_axes(view) if view.drawn else ()
    parallel = (draw_parallel(view, axes),) if len(axes) > 1 else ()
    effects = (draw_shares(view), draw_main_effects(view)) if view.effects else ()
    charts: tuple[Block, ...] = tuple(map(Chart, (*fronts, *parallel)))
    if charts:
        charts += (ChartData(_data(view, len(fronts), axes if parallel else ())),)
    sections = [
        ReportSection(
            "findings",
            "On the front, under the constraints",
            (
                Bullets(_findings(view)),
                *_front_grid(view),
                Bullets(view.notes, "Notes", warning=True),
            ),
        ),
        ReportSection("fronts", "The space", charts) if charts else None,
        ReportSection(
            "knobs",
            "Which knob matters",
            (*map(Illustration, effects), shares_grid(view.effects)),
        )
        if view.effects
        else None,
        ReportSection("points", "All points", (_points_grid(view),)),
        ReportSection("basis", "What the numbers mean", (Definitions(_basis(view)),)),
        ReportSection("files", "Files of this sweep", (Definitions(FILES, code=True),)),
    ]
    return tuple(s for s in sections if s is not None), (*fronts, *parallel, *effects)


def _data(view: SweepView, fronts: int, axes: Sequence[ParallelAxis]) -> str:
    """Return what the marks of charts stand for, as the script reads it."""
    drawn = list(view.drawn)
    heights = []
    for axis in axes:
        column: list[float | None] = [None] * len(view.points)
        for i, height in zip(drawn, axis.heights.tolist(), strict=True):
            column[i] = round(height, 6)
        heights.append(column)
    charts = {f"points-{i}": drawn for i in range(fronts)}
    if axes:
        charts["lines-all"] = drawn
    points = [{"name": p.name, "text": _told(view, p)} for p in view.points]
    text = json.dumps({"points": points, "charts": charts, "axes": heights}, separators=(",", ":"))
    return text.replace("<", "\\u003c")  # nothing in it ends the element


def _told(view: SweepView, point: ShownPoint) -> list[str]:
    """Return the lines of a point's card."""
    knobs = [f"{k} = {point.setting.get(k)}" for k in view.varied]
    found = [f"{m.label}: {significant(point.values.get(m.name))}" for m in view.measures]
    return [*knobs, *found, WORDS[point.status] + (f": {point.why}" if point.why else "")]


def _findings(view: SweepView) -> tuple[str, ...]:
    counts = Counter(p.status for p in view.points)
    said = ", ".join(f"{n} {WORDS[s]}" for s, n in counts.most_common())
    found = [f"{len(view.points)} points: {said}. {view.about}"]
    if view.bounds:
        found.append(f"Constraints: {', '.join(b.text for b in view.bounds)}.")
    for measure in view.measures:
        own = [
            p for p in view.points if p.status in {"front", "meets"} and measure.name in p.values
        ]
        if own:
            sign = 1 if measure.better == "lower" else -1
            best = min(own, key=lambda p, m=measure, s=sign: s * p.values[m.name])  # type: ignore[misc]
            setting = ", ".join(f"{k} = {best.setting.get(k)}" for k in view.varied)
            value = significant(best.values[measure.name])
            found.append(f"Best {measure.label}: {value}, with {setting} ({best.chip}).")
        main = max(
            (e for e in view.effects if e.column == measure.name),
            key=lambda e: e.share,
            default=None,
        )
        if main is not None:
            found.append(
                f"{measure.name} depends most on {main.knob}: it alone explains "
                f"{100 * main.share:.0f} % of the variance."
            )
    return tuple(found)


def _knob_fields(view: SweepView) -> list[Field[ShownPoint]]:
    def of(knob: str) -> Field[ShownPoint]:
        numeric = all(isinstance(p.setting.get(knob), int | float) for p in view.points)
        return Field(knob, lambda p: str(p.setting.get(knob)), words=not numeric)

    return [of(knob) for knob in view.knobs]


def _measure_fields(view: SweepView) -> list[Field[ShownPoint]]:
    def of(measure: Measure) -> Field[ShownPoint]:
        return Field(measure.label, lambda p: significant(p.values.get(measure.name), 4))

    return [of(m) for m in view.measures]


def _name_fields(view: SweepView) -> list[Field[ShownPoint]]:
    fields = [Field[ShownPoint]("point", lambda p: p.name, words=True)]
    if len({p.chip for p in view.points}) > 1:
        fields.append(Field("chip", lambda p: p.chip, words=True))
    if len({p.model for p in view.points}) > 1:
        fields.append(Field("model", lambda p: p.model, words=True))
    return fields


def _front_grid(view: SweepView) -> tuple[Grid, ...]:
    if not view.front:
        return ()
    fields = (*_name_fields(view), *_knob_fields(view), *_measure_fields(view))
    note = "No other point that meets the constraints is as good in all of these and better in one."
    return (Grid.of("The short list", fields, (("", view.front),), note, link=lambda p: p.link),)


def _points_grid(view: SweepView) -> Grid:
    def of(column: str) -> Field[ShownPoint]:
        return Field(column, lambda p: significant(p.values.get(column), 4))

    fields = (
        *_name_fields(view),
        *_knob_fields(view),
        Field[ShownPoint]("status", lambda p: WORDS[p.status], words=True),
        *_measure_fields(view),
        *(of(column) for column in view.further),
        Field[ShownPoint]("why", lambda p: p.why, words=True),
    )
    note = "Click a heading to sort; a point links to its resolved chip. All columns: sweep.csv."
    return Grid.of("Points", fields, (("", view.points),), note, link=lambda p: p.link)


def _basis(view: SweepView) -> tuple[tuple[str, str], ...]:
    return (
        ("Front", "Points that meet every constraint and that no other such point beats: none is "
         "as good in all objectives and better in one."),
        ("Shares", "Var(E[objective | knob]) / Var(objective) over the points. On a whole grid the "
         "interval is the range with any one value of another knob left out; on samples it is the "
         "middle 95 % of bootstrap resamples, and the share is corrected for the scatter within "
         "classes."),
        *((m.name, f"{m.meaning} Better: {m.better}.") for m in view.measures),
    )  # fmt: skip


def sweep_pictures(pictures: Sequence[Picture]) -> dict[str, bytes]:
    """Return the files of a report's figures by name."""
    return {f"figures/{p.name}.svg": p.svg for p in pictures}
