"""A tile in one figure: histogram of its errors, their sources, error by converter bits."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MultipleLocator, NullFormatter, StrMethodFormatter

from cimsim.mac import TileStudy
from cimsim.report.canvas import BLUE, GREY, INK, ORANGE, Picture, drawing, picture

__all__ = ["tile_figure"]

_BINS = 81


def tile_figure(study: TileStudy, title: str, bits: int) -> Picture:
    """Draw a study.

    Args:
        study: the study.
        title: what was studied.
        bits: bits of the converter as it is.
    """
    with drawing(9.6, 3.3) as figure:
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.15, 1.1, 1.0))
        _histogram(left, study)
        _sources(middle, study)
        _by_bits(right, study, bits)
        known = study.predicted.uniform
        normal = ", and a normal of the predicted width" if known else ""
        caption = (
            f"Left: errors against the exact product of the same integers{normal}. Middle: each "
            "source alone, and all others without it. Right: the same tile with other converters."
        )
        predicted = f", predicted {study.predicted.error:.4f}" if known else ""
        alt = (
            f"Relative error {study.error:.4f}{predicted}; "
            f"recommended {study.recommended_bits} bits."
        )
        return picture(figure, "tile", title, caption, alt)


def _histogram(axes: Axes, study: TileStudy) -> None:
    errors = study.errors
    reach = float(np.abs(errors).max()) or 1.0
    # The last thousandth of the tails would squeeze the rest into a few bins.
    reach = min(reach, 1.5 * float(np.quantile(np.abs(errors), 0.999)) or reach)
    edges = np.linspace(-reach, reach, _BINS + 1)
    axes.hist(errors, edges.tolist(), density=True, color=BLUE, alpha=0.8, label="observed")
    sigma = study.predicted.error
    if sigma > 0.0 and study.predicted.uniform:
        x = np.linspace(-reach, reach, 241)
        normal = np.exp(-0.5 * (x / sigma) ** 2) / (sigma * np.sqrt(2.0 * np.pi))
        axes.plot(x, normal, color=ORANGE, lw=1.4, label="predicted")
    axes.set_title("Errors of outputs")
    axes.set_xlabel("error / rms of outputs")
    axes.set_ylabel("density")
    axes.legend(loc="upper right", handlelength=1.2)
    axes.margins(y=0.28)


def _sources(axes: Axes, study: TileStudy) -> None:
    names = [s.label for s in study.sources]
    places = np.arange(len(names))
    axes.barh(places - 0.19, [s.alone for s in study.sources], 0.36, color=BLUE, label="alone")
    without = [s.without for s in study.sources]
    axes.barh(places + 0.19, without, 0.36, color=GREY, label="all but it")
    axes.axvline(study.error, color=INK, lw=1.0, ls="--", label="all")
    axes.set_yticks(places, names)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0.0, None)
    axes.set_title("Error by source")
    axes.set_xlabel("relative error")
    axes.figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, handlelength=1.2
    )


def _by_bits(axes: Axes, study: TileStudy, bits: int) -> None:
    found = {b: e for b, e in study.error_by_bits.items() if e > 0.0}
    axes.plot(list(found), list(found.values()), color=BLUE, marker="o", ms=3.5, lw=1.2)
    axes.axvline(bits, color=ORANGE, lw=1.2, ls="--", label=f"now: {bits}")
    axes.axvline(
        study.recommended_bits, color=INK, lw=1.2, ls=":", label=f"enough: {study.recommended_bits}"
    )
    axes.xaxis.set_major_locator(MultipleLocator(2))
    if found:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title("Error by ADC bits")
    axes.set_xlabel("bits")
    axes.set_ylabel("relative error")
    axes.legend(loc="upper right", handlelength=1.2)
