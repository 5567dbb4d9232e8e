"""The report of a sweep: what the page is made of."""

from __future__ import annotations

from collections.abc import Sequence

from cimsim.config.sweep import SweepPlan
from cimsim.report.sweep_view import Bound, Measure, ShownPoint, SweepView
from cimsim.sweeps.axes import dimensions
from cimsim.sweeps.effects import knob_effects
from cimsim.sweeps.folder import SweepFolder
from cimsim.sweeps.standing import Standing, SweepResults, setting_cell

__all__ = ["sweep_view", "write_sweep_report"]

FURTHER = (
    "area_mm2", "dies", "tiles", "tokens_per_s", "latency_us", "energy_per_token_nj", "power_w",
    "tops_per_w",
)  # fmt: skip


def write_sweep_report(folder: SweepFolder, results: SweepResults) -> None:
    """Write report.html and figures/."""
    # Matplotlib and Jinja take half a second to import.
    from cimsim.report.page import html_page  # noqa: PLC0415
    from cimsim.report.sweep_sections import sweep_pictures, sweep_sections  # noqa: PLC0415

    view = sweep_view(results, folder)
    sections, pictures = sweep_sections(view)
    for name, data in sweep_pictures(pictures).items():
        folder.write(name, data)
    page = html_page(f"cimsim sweep: {view.name}", view.description or view.about, sections)
    folder.write("report.html", page.encode())


def sweep_view(results: SweepResults, folder: SweepFolder) -> SweepView:
    """Return a sweep as its report sees it."""
    plan, columns = results.plan, results.columns
    objectives = results.wants.objectives
    axes = dimensions(plan)
    whole = plan.sample is None
    final = [s for s in results.standings if s.status in {"front", "meets", "misses"}]
    effects = [
        effect
        for o in objectives
        for effect in knob_effects(final, axes, o.column, whole_grid=whole)
    ]
    shown = [c for c in FURTHER if c not in {o.column for o in objectives}]
    return SweepView(
        name=plan.name,
        description=plan.description,
        about=_about(plan),
        measures=tuple(
            Measure(o.column, columns[o.column].unit, o.better, columns[o.column].meaning)
            for o in objectives
        ),
        bounds=tuple(Bound(c.column, c.upper, c.bound, str(c)) for c in results.wants.constraints),
        knobs=results.knobs,
        points=tuple(_point(s, folder) for s in results.standings),
        effects=tuple(effects),
        further=tuple(c for c in shown if any(c in s.row for s in results.standings)),
        notes=(*results.notes, *results.invalid, *_nobody(results)),
    )


def _point(standing: Standing, folder: SweepFolder) -> ShownPoint:
    point, row = standing.point, standing.row
    link = folder.chip_file(point)
    return ShownPoint(
        name=point.name,
        chip=point.chip,
        model=point.model,
        link=link if (folder.path / link).is_file() else "",
        setting={k: setting_cell(v) for k, v in point.setting},
        values={
            n: float(v)
            for n, v in row.items()
            if isinstance(v, int | float) and not isinstance(v, bool)
        },
        status=standing.status,
        why=standing.why,
    )


def _nobody(results: SweepResults) -> Sequence[str]:
    sentence = results.nobody()
    return [f"{sentence[0].upper()}{sentence[1:]}."] if sentence else []


def _about(plan: SweepPlan) -> str:
    how = "a grid" if plan.sample is None else f"{plan.sample.method} points"
    scored = (
        f"{', '.join(plan.models)} scored on every chip"
        if plan.accuracy == "on"
        else "time, energy and area alone"
    )
    return f"{how.capitalize()} over {len(plan.axes)} knobs of {', '.join(plan.chips)}; {scored}."
