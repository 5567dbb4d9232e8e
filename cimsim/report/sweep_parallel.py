"""Parallel coordinates: every point a line through its knobs and objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from cimsim.report.canvas import GREY, INK, Picture, drawing, picture, short
from cimsim.report.cells import significant
from cimsim.report.sweep_fronts import COLOURS, spans_decades
from cimsim.report.sweep_view import SweepView

__all__ = ["ParallelAxis", "draw_parallel", "parallel_axes"]

Floats = NDArray[np.float64]
MOST_TICKS = 8
HALF_WIDTH = 0.09  # of what a reader drags over, in axes


@dataclass(frozen=True)
class ParallelAxis:
    """One axis.

    Attributes:
        title: its name.
        heights: of every drawn point, 0 to 1.
        ticks: heights with their words.
    """

    title: str
    heights: Floats
    ticks: tuple[tuple[float, str], ...]


def parallel_axes(view: SweepView) -> tuple[ParallelAxis, ...]:
    """Return the axes: knobs that vary, then objectives."""
    points = [view.points[i] for i in view.drawn]
    knobs = tuple(_axis(k, [p.setting.get(k) for p in points]) for k in view.varied)
    return (*knobs, *(_axis(m.name, [p.values[m.name] for p in points]) for m in view.measures))


def _axis(title: str, values: Sequence[object]) -> ParallelAxis:
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        names = list(dict.fromkeys(map(str, values)))
        step = max(1, len(names) - 1)
        found = np.array([names.index(str(v)) / step for v in values])
        return ParallelAxis(title, found, tuple((i / step, n) for i, n in enumerate(names)))
    x = np.array([float(v) for v in values])  # type: ignore[arg-type]
    scale = np.log(x) if spans_decades(x) else x
    low, high = float(scale.min()), float(scale.max())
    heights = (scale - low) / (high - low) if high > low else np.full(len(x), 0.5)
    distinct = np.unique(x)
    if len(distinct) > MOST_TICKS:
        ends = ((0.0, significant(float(x.min()))), (1.0, significant(float(x.max()))))
        return ParallelAxis(title, heights, ends)
    at = {float(v): float(h) for v, h in zip(x, heights, strict=True)}
    return ParallelAxis(title, heights, tuple((at[float(v)], f"{v:g}") for v in distinct))


def draw_parallel(view: SweepView, axes: Sequence[ParallelAxis]) -> Picture:
    """Draw the axes and a line per point; those on the front come last, on top."""
    points = [view.points[i] for i in view.drawn]
    heights = np.stack([a.heights for a in axes], axis=1)
    across = np.arange(len(axes), dtype=np.float64)
    with drawing(max(7.6, 1.15 * len(axes)), 4.2) as figure:
        plot = figure.subplots()
        lines = LineCollection(
            [np.stack([across, row], axis=1) for row in heights],
            colors=[COLOURS[p.status] for p in points],
            linewidths=[1.8 if p.status == "front" else 0.8 for p in points],
            alpha=0.75,
            zorder=2,
        )
        lines.set_gid("lines-all")
        plot.add_collection(lines)
        for i, axis in enumerate(axes):
            plot.axvline(i, color=GREY, lw=0.8, zorder=1)
            hit = Rectangle(
                (i - HALF_WIDTH, 0), 2 * HALF_WIDTH, 1, fc="white", alpha=0.01, zorder=4
            )
            hit.set_gid(f"axis-{i}")
            plot.add_patch(hit)
            for height, words in axis.ticks:
                plot.text(
                    i + 0.03, height, short(words, 14), fontsize=7.5, color=INK, va="center",
                    zorder=3, bbox={"fc": "white", "ec": "none", "alpha": 0.7, "pad": 0.6},
                )  # fmt: skip
        plot.set_xlim(-0.25, len(axes) - 1 + 0.7)
        plot.set_ylim(-0.04, 1.04)
        titles = [short(a.title, 24).replace(".", ".\n") for a in axes]
        plot.set_xticks(across, titles, fontsize=7.5)
        plot.set_yticks([])
        plot.grid(visible=False)
        plot.spines[["left", "bottom"]].set_visible(False)
        caption = (
            "A line is a point; orange lines are on the front. Drag along an axis to keep the "
            "points within a range, in all figures and in the table; click the axis to undo."
        )
        alt = f"Parallel coordinates of {len(points)} points over {len(axes)} axes."
        return picture(figure, "parallel", "All knobs and objectives", caption, alt, png=False)
