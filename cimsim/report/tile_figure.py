"""A tile in one figure: histogram of its errors, their sources, error by converter bits."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MultipleLocator, NullFormatter, StrMethodFormatter

from cimsim.mac import TileStudy
from cimsim.report.canvas import BLUE, GREY, INK, ORANGE, Picture, drawing, picture

__all__ = ["tile_figure"]

_BINS = 81
_UNDEFINED = "every exact output is 0"
TITLES = ("Errors of outputs", "Error by source", "Error by ADC bits")


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
        for axes, name in ((left, TITLES[0]), (middle, TITLES[1]), (right, TITLES[2])):
            axes.set_title(name)
        if study.error is None or study.recommended_bits is None:
            for axes in (left, middle, right):
                _undefined(axes)
        else:
            _histogram(left, study)
            _sources(middle, study, study.error)
            _by_bits(right, study, bits, study.recommended_bits)
        expected = study.predicted.error if study.predicted.uniform else None
        known = expected is not None
        normal = ", and a normal of the predicted width" if known else ""
        caption = (
            f"Left: errors against the exact product of the same integers{normal}. Middle: each "
            "source alone, and all others without it. Right: the same tile with other converters."
        )
        predicted = "" if expected is None else f", predicted {expected:.4f}"
        alt = (
            f"Relative error undefined: {_UNDEFINED}."
            if study.error is None
            else f"Relative error {study.error:.4f}{predicted}; "
            f"recommended {study.recommended_bits} bits."
        )
        return picture(figure, "tile", title, caption, alt)


def _undefined(axes: Axes) -> None:
    """Say in a panel why it shows nothing."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(
        0.5, 0.5, f"undefined:\n{_UNDEFINED}", transform=axes.transAxes, ha="center", va="center"
    )


def _histogram(axes: Axes, study: TileStudy) -> None:
    errors = study.errors
    reach = float(np.abs(errors).max()) or 1.0
    # The last thousandth of the tails would squeeze the rest into a few bins.
    reach = min(reach, 1.5 * float(np.quantile(np.abs(errors), 0.999)) or reach)
    edges = np.linspace(-reach, reach, _BINS + 1)
    axes.hist(errors, edges.tolist(), density=True, color=BLUE, alpha=0.8, label="observed")
    sigma = study.predicted.error
    if sigma and study.predicted.uniform:
        x = np.linspace(-reach, reach, 241)
        normal = np.exp(-0.5 * (x / sigma) ** 2) / (sigma * np.sqrt(2.0 * np.pi))
        axes.plot(x, normal, color=ORANGE, lw=1.4, label="predicted")
    axes.set_xlabel("error / rms of outputs")
    axes.set_ylabel("density")
    axes.legend(loc="upper right", handlelength=1.2)
    axes.margins(y=0.28)


def _sources(axes: Axes, study: TileStudy, error: float) -> None:
    names = [s.label for s in study.sources]
    places = np.arange(len(names))
    alone = [s.alone or 0.0 for s in study.sources]
    axes.barh(places - 0.19, alone, 0.36, color=BLUE, label="alone")
    without = [s.without or 0.0 for s in study.sources]
    axes.barh(places + 0.19, without, 0.36, color=GREY, label="all but it")
    axes.axvline(error, color=INK, lw=1.0, ls="--", label="all")
    axes.set_yticks(places, names)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0.0, None)
    axes.set_xlabel("relative error")
    axes.figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, handlelength=1.2
    )


def _by_bits(axes: Axes, study: TileStudy, bits: int, enough: int) -> None:
    found = {b: e for b, e in study.error_by_bits.items() if e > 0.0}
    axes.plot(list(found), list(found.values()), color=BLUE, marker="o", ms=3.5, lw=1.2)
    axes.axvline(bits, color=ORANGE, lw=1.2, ls="--", label=f"now: {bits}")
    axes.axvline(enough, color=INK, lw=1.2, ls=":", label=f"enough: {enough}")
    axes.xaxis.set_major_locator(MultipleLocator(2))
    if found:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("bits")
    axes.set_ylabel("relative error")
    axes.legend(loc="upper right", handlelength=1.2)
