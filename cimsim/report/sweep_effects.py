"""Which knob matters: shares of variance with intervals, and main effects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from cimsim.report.blocks import Field, Grid
from cimsim.report.canvas import BLUE, GREY, INK, Picture, drawing, picture, short
from cimsim.report.cells import percent
from cimsim.report.sweep_view import KnobEffect, SweepView

__all__ = ["draw_main_effects", "draw_shares", "shares_grid"]

MOST_LEVELS = 8


def draw_shares(view: SweepView) -> Picture:
    """Draw the share of every knob in the variance of every objective."""
    measures = [m for m in view.measures if any(e.column == m.name for e in view.effects)]
    knobs = list(dict.fromkeys(e.knob for e in view.effects))
    with drawing(7.6, 0.7 + 0.32 * len(knobs) + 0.3) as figure:
        plots = np.atleast_1d(figure.subplots(1, len(measures), sharey=True))
        for plot, measure in zip(plots, measures, strict=True):
            own = {e.knob: e for e in view.effects if e.column == measure.name}
            for row, knob in enumerate(knobs):
                effect = own.get(knob)
                if effect is None:
                    continue
                plot.barh(row, effect.share, color=BLUE, height=0.62)
                plot.plot(
                    [effect.low, effect.high], [row, row], color=INK, lw=1.4, marker="|", ms=7
                )
            plot.set_title(short(measure.name, 30), fontsize=8.5)
            plot.set_xlim(0, 1)
            plot.set_xticks([0, 0.5, 1])
            plot.set_yticks(range(len(knobs)), [short(k, 34) for k in knobs])
            plot.invert_yaxis() if plot is plots[0] else None
        figure.supxlabel("share of the variance", fontsize=8.5)
        caption = (
            "How much of the spread of an objective over the points a knob explains alone; lines "
            "are intervals. What the shares lack to 1 is what knobs do together."
        )
        alt = "; ".join(
            f"{e.knob} explains {percent(e.share, 0)} of {e.column}" for e in view.effects
        )
        return picture(figure, "shares", "Which knob matters", caption, alt + ".", png=False)


def draw_main_effects(view: SweepView) -> Picture:
    """Draw the mean of every objective at every value of every knob."""
    measures = [m for m in view.measures if any(e.column == m.name for e in view.effects)]
    knobs = list(dict.fromkeys(e.knob for e in view.effects))
    with drawing(max(7.6, 1.7 * len(knobs)), 0.5 + 1.55 * len(measures)) as figure:
        plots = figure.subplots(len(measures), len(knobs), sharey="row", squeeze=False)
        for row, measure in enumerate(measures):
            for column, knob in enumerate(knobs):
                plot = plots[row][column]
                for effect in view.effects:
                    if (effect.knob, effect.column) == (knob, measure.name):
                        _draw_effect(plot, effect)
                if column == 0:
                    plot.set_ylabel(short(measure.name, 22), fontsize=7.5)
                if row == len(measures) - 1:
                    plot.set_xlabel(short(knob, 26), fontsize=7.5)
                plot.tick_params(labelsize=7)
        caption = (
            "Mean over the points at each value of a knob; bars run from the lowest to the highest "
            "point there. Values of a sampled range are in classes of equal counts."
        )
        alt = f"Main effects of {len(knobs)} knobs on {len(measures)} objectives."
        return picture(figure, "main_effects", "Main effects", caption, alt, png=False)


def _draw_effect(plot: Axes, effect: KnobEffect) -> None:
    x = np.arange(len(effect.levels))
    for at, (low, high) in zip(x, effect.spread, strict=True):
        plot.plot([at, at], [low, high], color=GREY, lw=1.0, zorder=1)
    plot.plot(x, effect.means, color=BLUE, marker="o", ms=4, lw=1.3, zorder=2)
    shown = x[:: max(1, -(-len(x) // MOST_LEVELS))]
    plot.set_xticks(shown, [short(effect.levels[i], 8) for i in shown])
    plot.set_xlim(-0.4, len(x) - 0.6)


def shares_grid(effects: Sequence[KnobEffect]) -> Grid:
    """Return the shares as a table, the largest of each objective first."""
    groups: dict[str, list[KnobEffect]] = {}
    for effect in effects:
        groups.setdefault(effect.column, []).append(effect)
    return Grid.of(
        "Shares of variance",
        (
            Field[KnobEffect]("knob", lambda e: e.knob, narrow="knob", words=True, code=True),
            Field[KnobEffect]("share", lambda e: percent(e.share), narrow="share"),
            Field[KnobEffect]("interval", _interval, narrow="interval", words=True),
            Field[KnobEffect]("extremes", _extremes, words=True),
        ),
        ((name, sorted(own, key=lambda e: -e.share)) for name, own in groups.items()),
    )


def _interval(effect: KnobEffect) -> str:
    return f"{percent(effect.low)} to {percent(effect.high)}"


def _extremes(effect: KnobEffect) -> str:
    """Name the values at which the mean is lowest and highest."""
    low, high = int(np.argmin(effect.means)), int(np.argmax(effect.means))
    return f"lowest mean at {effect.levels[low]}, highest at {effect.levels[high]}"
