"""Fronts of a sweep: every pair of objectives, with what the constraints forbid."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cimsim.report.canvas import BLUE, GREY, ORANGE, Picture, drawing, picture
from cimsim.report.cells import significant
from cimsim.report.sweep_view import Bound, Measure, SweepView
from cimsim.results import pareto_front

__all__ = ["COLOURS", "draw_fronts", "spans_decades"]

Floats = NDArray[np.float64]
COLOURS = {"front": ORANGE, "meets": BLUE, "misses": GREY, "dropped": GREY, "failed": GREY}
LABELS = {
    "front": "on the front of all objectives",
    "meets": "meets the constraints",
    "misses": "misses a constraint",
    "dropped": "dropped on the ladder",
}
FORBIDDEN = "#f3d9cf"
MOST_PAIRS = 3
DECADES = 8.0


def draw_fronts(view: SweepView) -> tuple[Picture, ...]:
    """Draw the pairs of objectives; none if there is one objective, or no point has both."""
    if len(view.measures) < 2 or not view.drawn:
        return ()
    pairs = list(combinations(view.measures, 2))
    if len(pairs) > MOST_PAIRS:  # the first objective against the others
        pairs = [(view.measures[0], other) for other in view.measures[1:]]
    return tuple(_draw_pair(view, x, y, i) for i, (y, x) in enumerate(pairs))


def spans_decades(values: Floats) -> bool:
    """Whether values are better seen in the logarithm."""
    return bool(values.min() > 0 and values.max() / values.min() > DECADES)


def _draw_pair(view: SweepView, x: Measure, y: Measure, number: int) -> Picture:
    points = [view.points[i] for i in view.drawn]
    at = np.array([[p.values[x.name], p.values[y.name]] for p in points])
    with drawing(7.6, 4.4) as figure:
        axes = figure.subplots()
        for measure, column, scale in ((x, at[:, 0], "x"), (y, at[:, 1], "y")):
            if spans_decades(column):
                getattr(axes, f"set_{scale}scale")("log")
            getattr(axes, f"set_{scale}label")(f"{measure.label}, {measure.better} is better")
        colours = [COLOURS[p.status] for p in points]
        marks = axes.scatter(at[:, 0], at[:, 1], s=34, c=colours, linewidths=0, alpha=0.9, zorder=3)
        marks.set_gid(f"points-{number}")
        meeting = np.array([p.status in {"front", "meets"} for p in points], dtype=np.bool_)
        if meeting.any():
            _draw_front(axes, at[meeting], x, y)
        axes.autoscale_view()
        axes.autoscale(enable=False)
        for bound in view.bounds:
            _shade(axes, bound, x, y)
        for status, label in LABELS.items():
            if any(p.status == status for p in points):
                axes.scatter([], [], s=34, c=COLOURS[status], linewidths=0, label=label)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
        names = f"{y.name} against {x.name}"
        caption = (
            "Dashed: what no point that meets the constraints beats in these two. Hover over a "
            "point to see it everywhere, click it to find it in the table." + _forbidden(view, x, y)
        )
        best = points[int(np.argmin(at[:, 0] * (1 if x.better == "lower" else -1)))]
        alt = (
            f"Scatter of {names}, {len(points)} points; best {x.name}: "
            f"{significant(best.values[x.name])} of {best.name}."
        )
        return picture(figure, f"front_{y.name}_{x.name}", names, caption, alt, png=False)


def _draw_front(axes: Axes, at: Floats, x: Measure, y: Measure) -> None:
    front = at[pareto_front(at, (x.better, y.better))]
    front = front[np.argsort(front[:, 0], kind="stable")]
    # Between two points of a front, all that is certain is the worse value of both.
    lower_left = (x.better, y.better) in {("lower", "lower"), ("lower", "higher")}
    axes.step(
        front[:, 0], front[:, 1], where="post" if lower_left else "pre",
        color=ORANGE, lw=1.1, ls="--", zorder=2,
    )  # fmt: skip


def _shade(axes: Axes, bound: Bound, x: Measure, y: Measure) -> None:
    """Shade what a constraint on one of the axes forbids."""
    for name, span, line, limits in (
        (x.name, axes.axvspan, axes.axvline, axes.get_xlim()),
        (y.name, axes.axhspan, axes.axhline, axes.get_ylim()),
    ):
        if name != bound.column:
            continue
        low, high = (bound.bound, limits[1]) if bound.upper else (limits[0], bound.bound)
        if low < high:
            span(low, high, color=FORBIDDEN, zorder=0, lw=0)
        if limits[0] < bound.bound < limits[1]:
            line(bound.bound, color=ORANGE, lw=0.8, zorder=1)


def _forbidden(view: SweepView, x: Measure, y: Measure) -> str:
    here = [b.text for b in view.bounds if b.column in {x.name, y.name}]
    other = [b.text for b in view.bounds if b.column not in {x.name, y.name}]
    shaded = f" Shaded: against {', '.join(here)}." if here else ""
    return shaded + (f" Not on these axes: {', '.join(other)}." if other else "")
