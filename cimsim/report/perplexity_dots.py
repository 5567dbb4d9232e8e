"""Perplexity of every chip before and after calibration, with intervals over chip seeds."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from cimsim.report.canvas import BLUE, INK, ORANGE, Picture, drawing, hover, picture, short
from cimsim.report.cells import number, significant
from cimsim.report.view import Design, View
from cimsim.results.destroyed import is_destroyed

__all__ = ["perplexity_dots"]

# A wider range of perplexities is drawn on a log scale.
LINEAR_RANGE = 3.0
# A symmetric interval may reach below the perplexity of a perfect model.
LEAST_PERPLEXITY = 1.0
ENDS = ("mean", "ci_low", "ci_high")
STAGES = (
    ("noisy", ORANGE, "o", "before calibration", -0.17),
    ("calibrated", BLUE, "s", "after calibration", 0.17),
)
MARKS = (
    ("ppl_float", INK, "float model"),
    ("ppl_ideal_int", "#2a9d5c", "exact integers at the chip's bits"),
)


def perplexity_dots(view: View) -> Picture:
    """Draw perplexity on the chip and after calibration beside the model without errors.

    Args:
        view: the run.
    """
    with drawing(9.2, 1.45 + 0.46 * len(view.designs)) as figure:
        axes = figure.add_subplot()
        places = np.arange(len(view.designs))
        _finish(axes, view)
        edge = axes.get_xlim()[1]
        for k, (column, colour, label) in enumerate(MARKS):
            for place, design in zip(places, view.designs, strict=True):
                value = edge if _off(design, column) else number(design.row, column)
                span = (place - 0.36, place) if k == 0 else (place, place + 0.36)
                axes.plot([value, value], span, color=colour, lw=2.0)
            axes.plot([], [], color=colour, lw=2.0, label=label)
        for stage, colour, marker, label, shift in STAGES:
            for place, design in zip(places, view.designs, strict=True):
                if _off(design, f"ppl_{stage}_mean"):
                    _draw_off(axes, design, stage, place + shift, colour)
                else:
                    _draw(axes, design, stage, place + shift, colour, marker)
            axes.plot([], [], marker, color=colour, ms=6, label=label)
        figure.legend(loc="outside upper left", ncols=4)
        caption = (
            "Mean over chip seeds and 95 % interval (none with one seed). Lines: the checkpoint "
            "in float (upper half), and exact integer products at the chip's bits (lower half), "
            "which is what quantisation alone costs. The axis does not start at 0. A triangle at "
            f"its end is off it: destroyed, at or above the perplexity of unigrams, "
            f"{view.unigrams}. Numbers: results.csv, per_seed.csv."
        )
        listed = "; ".join(
            f"{short(d.name, 40)}: {number(d.row, 'ppl_noisy_mean'):.4g} before, "
            f"{number(d.row, 'ppl_calibrated_mean'):.4g} after"
            for d in view.designs
        )
        return picture(
            figure,
            "perplexity",
            "Perplexity before and after calibration",
            caption,
            f"Perplexity of every chip. {listed}.",
        )


def _off(design: Design, column: str) -> bool:
    """Return whether a perplexity is that of a destroyed model, and off the axis."""
    return is_destroyed(number(design.row, column), number(design.row, "ppl_unigram"))


def _draw_off(axes: Axes, design: Design, stage: str, y: float, colour: str) -> None:
    """Mark a destroyed chip at the end of the axis with its perplexity."""
    edge = axes.get_xlim()[1]
    axes.plot(edge, y, ">", color=colour, ms=7, mec="white", mew=0.6, clip_on=False)
    axes.annotate(
        f"destroyed: {significant(number(design.row, f'ppl_{stage}_mean'), 4)}",
        (edge, y),
        xytext=(-7, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=8,
    )


def _draw(axes: Axes, design: Design, stage: str, y: float, colour: str, marker: str) -> None:
    mean, low, high = (number(design.row, f"ppl_{stage}_{x}") for x in ENDS)
    low, high = max(low, LEAST_PERPLEXITY), min(high, number(design.row, "ppl_unigram"))
    drawn = axes.errorbar(
        mean,
        y,
        xerr=[[mean - low], [high - mean]],
        fmt=marker,
        color=colour,
        ms=6,
        mec="white",
        mew=0.6,
        capsize=2.5,
        lw=1.2,
    )
    interval = f" ({low:.4g} to {high:.4g})" if high > low else ""
    hover(drawn.lines[0], f"{design.name}, {stage}: perplexity {mean:.4g}{interval}")
    axes.annotate(
        significant(mean, 4),
        (high, y),
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )


def _finish(axes: Axes, view: View) -> None:
    """Set limits that hold every mark, interval and number, those of destroyed chips apart."""
    means = [c for c, *_ in MARKS] + [f"ppl_{s}_mean" for s, *_ in STAGES]
    shown = [(d, c) for d in view.designs for c in means if not _off(d, c)]
    values = [number(d.row, c) for d, c in shown]
    for design, column in shown:
        for end in ("ci_low", "ci_high") if column.endswith("_mean") else ():
            value = number(design.row, column.replace("mean", end))
            values.append(min(value, number(design.row, "ppl_unigram")))
    # Where the float model itself knows no context there is nothing but the edge.
    values = values or [number(d.row, "ppl_unigram") for d in view.designs]
    low, high = max(min(values), LEAST_PERPLEXITY), max(values)
    if high > LINEAR_RANGE * low:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(low / (high / low) ** 0.03, high * (high / low) ** 0.09)
        axes.set_xlabel("perplexity (log scale; lower is better)")
    else:
        span = max(high - low, 0.02 * high)
        axes.set_xlim(low - 0.04 * span, high + 0.09 * span)
        axes.set_xlabel("perplexity (lower is better)")
    axes.set_yticks(
        np.arange(len(view.designs)), [f"{short(d.name)}  {d.index}" for d in view.designs]
    )
    axes.set_ylim(len(view.designs) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
