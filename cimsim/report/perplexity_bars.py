"""Perplexity of every chip before and after calibration, with intervals over chip seeds."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import NullFormatter, ScalarFormatter

from cimsim.report.canvas import BLUE, INK, ORANGE, Picture, drawing, picture, short
from cimsim.report.cells import number
from cimsim.report.view import View

__all__ = ["perplexity_bars"]

# A wider range of perplexities is drawn on a log scale, whose bars start at 1.
LINEAR_RANGE = 6.0


def perplexity_bars(view: View) -> Picture:
    """Draw perplexity bars: on the chip, and after calibration.

    Args:
        view: the run.
    """
    stages = (("noisy", ORANGE, "before calibration"), ("calibrated", BLUE, "after calibration"))
    means = {
        stage: np.array([number(d.row, f"ppl_{stage}_mean") for d in view.designs])
        for stage, _, _ in stages
    }
    clean = np.array([number(d.row, "ppl_float") for d in view.designs])
    ideal = np.array([number(d.row, "ppl_ideal_int") for d in view.designs])
    top = max(float(means["noisy"].max()), float(means["calibrated"].max()))
    logarithmic = top > LINEAR_RANGE * float(clean.min())
    base = 1.0 if logarithmic else 0.0
    with drawing(9.2, 1.55 + 0.46 * len(view.designs)) as figure:
        axes = figure.add_subplot()
        places = np.arange(len(view.designs))
        for k, (stage, colour, label) in enumerate(stages):
            low = np.array([number(d.row, f"ppl_{stage}_ci_low") for d in view.designs])
            high = np.array([number(d.row, f"ppl_{stage}_ci_high") for d in view.designs])
            mean = means[stage]
            low = np.maximum(low, 1.0)
            y = places + (k - 0.5) * 0.36
            axes.barh(y, mean - base, left=base, height=0.34, color=colour, label=label)
            axes.errorbar(
                mean, y, xerr=[mean - low, high - mean], fmt="none", ecolor=INK, capsize=2.5, lw=1.0
            )
            for x, right, place in zip(mean, high, y, strict=True):
                axes.annotate(
                    f"{x:.4g}",
                    (right, place),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                )
        axes.scatter(clean, places, marker="|", s=260, color=INK, lw=1.6, label="float", zorder=3)
        axes.scatter(
            ideal,
            places,
            marker="|",
            s=260,
            color="#b2182b",
            lw=1.2,
            label="exact integers",
            zorder=3,
        )
        if logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.xaxis.set_minor_formatter(NullFormatter())
        reach = max(number(d.row, f"ppl_{s}_ci_high") for d in view.designs for s, _, _ in stages)
        axes.set_xlim(base, reach**1.1 if logarithmic else reach * 1.1)
        axes.set_xlabel("perplexity" + (" (log scale from 1)" if logarithmic else ""))
        axes.set_yticks(places, [f"{short(d.name)}  {d.index}" for d in view.designs])
        axes.set_ylim(len(places) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside upper left", ncols=4)
        caption = (
            "Mean over chip seeds and 95 % interval (none with one seed). Marks: the checkpoint "
            "in float, and exact integer products at the chip's bits. Numbers: results.csv, "
            "per_seed.csv."
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
            f"Bars of perplexity. {listed}.",
        )
