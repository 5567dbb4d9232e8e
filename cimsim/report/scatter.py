"""Accuracy against energy: every chip before and after calibration, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter
from numpy.typing import NDArray

from cimsim.report.canvas import BLUE, GREY, INK, ORANGE, Picture, drawing, hover, picture, short
from cimsim.report.cells import energy_unit, number, significant
from cimsim.report.view import Design, View
from cimsim.results import pareto_front

__all__ = ["accuracy_energy"]

LOST = "#b2182b"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# A symmetric interval may reach below the perplexity of a perfect model.
LEAST_PERPLEXITY = 1.0
# Points nearer than this share a label; width of a character and height of a label.
NEAR_PT, DIGIT_PT, LABEL_PT = 5.0, 5.6, 8.5
COLOURS = (BLUE, ORANGE, "#4d9221", "#762a83", "#00a087", "#b2182b", "#8c510a")


@dataclass(frozen=True)
class _Point:
    """One chip that is not destroyed; `noisy` is None where it is before calibration."""

    design: Design
    energy: float
    noisy: float | None
    calibrated: float
    low: float
    high: float


def accuracy_energy(view: View, *, scaled: bool) -> Picture:
    """Draw calibrated perplexity against energy per token, one front for each precision.

    A destroyed chip is listed beside the figure, not drawn: how far it is off says nothing.

    Args:
        view: the run.
        scaled: energy of the full-size shape (scale.csv) instead of the tiny model's.
    """
    alive = [d for d in view.designs if not d.destroyed]
    unit, size = energy_unit(_energy_nj(d, scaled=scaled) for d in alive)
    points = {d.index: _point(d, _energy_nj(d, scaled=scaled) / size) for d in alive}
    with drawing(9.2, 4.9 + max(0, len(view.designs) - 10) * 0.22) as figure:
        grid = figure.add_gridspec(1, 2, width_ratios=(1.9, 1.0))
        axes = figure.add_subplot(grid[0])
        fronts: list[NDArray[np.float64]] = []
        for i, (label, designs) in enumerate(view.classes):
            members = [points[d.index] for d in designs if d.index in points]
            if members:
                fronts.append(
                    _draw_class(axes, members, MARKERS[i % 7], COLOURS[i % 7], label, unit)
                )
        if points:
            _finish_axes(axes, list(points.values()), unit, scaled=scaled)
            _number_points(figure, axes, list(points.values()), np.concatenate(fronts))
        else:
            _draw_nothing(axes)
        _draw_key(figure.add_subplot(grid[1]), view, scaled=scaled)
        where = "scale.csv" if scaled else "results.csv"
        caption = (
            "Filled: after calibration, with its 95 % interval over chip seeds. Hollow: before "
            "calibration. Lower left is better. Each precision (weight and input bits) has its "
            "own Pareto front; chips of different precision are not ranked together."
            f"{_nodes(view)}{_off_scale(view)} Perplexity: results.csv (tiny model). "
            f"Energy: {where}."
        )
        title = (
            "Accuracy against energy: full-size model, decode, batch 32"
            if scaled
            else "Accuracy against energy: tiny model, decode"
        )
        name = "accuracy_energy" if scaled else "accuracy_energy_tiny"
        return picture(figure, name, title, caption, _alt(view, points, unit))


def _point(design: Design, energy: float) -> _Point:
    row = design.row
    return _Point(
        design,
        energy,
        None if design.destroyed_before else number(row, "ppl_noisy_mean"),
        number(row, "ppl_calibrated_mean"),
        max(number(row, "ppl_calibrated_ci_low"), LEAST_PERPLEXITY),
        min(number(row, "ppl_calibrated_ci_high"), number(row, "ppl_unigram")),
    )


def _off_scale(view: View) -> str:
    if not any(d.destroyed or d.destroyed_before for d in view.designs):
        return ""
    return (
        f" Destroyed: at or above the perplexity of unigrams, {view.unigrams}; such chips are "
        "listed, not drawn, and a triangle at the top stands for one before calibration."
    )


def _nodes(view: View) -> str:
    nodes = {number(d.row, "node_nm") for d in view.designs}
    if len(nodes) == 1:
        return ""
    return " A front joins chips of several process nodes (in the key), unscaled."


def _energy_nj(design: Design, *, scaled: bool) -> float:
    row = design.scale() if scaled else None
    if row is not None:
        return number(row, "energy_per_token_nj")
    return number(design.row, "energy_per_token_nj_calibrated")


def _draw_class(
    axes: Axes, members: Sequence[_Point], marker: str, colour: str, label: str, unit: str
) -> NDArray[np.float64]:
    """Draw the chips of one precision; return points along its front, [points, 2]."""
    for p in members:
        if p.noisy is None:  # at the edge, wherever that is
            edge = Line2D([p.energy], [1.0], marker="^", ms=6, mfc="white", mec=colour, mew=1.0)
            edge.set(transform=axes.get_xaxis_transform(), clip_on=False)
            axes.add_line(edge)
        else:
            both = [p.noisy, p.calibrated]
            axes.plot([p.energy, p.energy], both, color=colour, lw=0.8, alpha=0.5)
            axes.plot(p.energy, p.noisy, marker, ms=6, mfc="white", mec=colour, mew=1.0)
        error = [[p.calibrated - p.low], [p.high - p.calibrated]]
        axes.errorbar(p.energy, p.calibrated, yerr=error, color=colour, capsize=3, lw=1.2)
        (point,) = axes.plot(
            p.energy, p.calibrated, marker, ms=8, color=colour, mec="white", mew=0.8
        )
        interval = f" ({p.low:.4g} to {p.high:.4g})" if p.high > p.low else ""
        said = f"perplexity {p.calibrated:.4g}{interval} calibrated, {p.energy:.4g} {unit}"
        hover(point, f"{p.design.index}. {p.design.name}: {said}")
    values = np.array([[p.calibrated, p.energy] for p in members])
    front = values[pareto_front(values, ("lower", "lower"))]
    front = front[np.argsort(front[:, 1])]
    axes.step(front[:, 1], front[:, 0], where="post", color=colour, lw=1.0, ls="--", alpha=0.9)
    axes.plot([], [], marker=marker, color=colour, ls="--", label=label)
    corners = [front[:1, ::-1]]
    for (y0, x0), (y1, x1) in pairwise(front.tolist()):
        along = np.geomspace(x0, x1, 9)
        down = np.linspace(y0, y1, 5)
        corners += [
            np.column_stack([along, np.full(9, y0)]),
            np.column_stack([np.full(5, x1), down]),
        ]
    return np.concatenate(corners)


def _finish_axes(axes: Axes, points: Sequence[_Point], unit: str, *, scaled: bool) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    energies = [p.energy for p in points]
    axes.set_xlim(min(energies) / 1.5, max(energies) * 1.5)
    tops = [max(p.noisy or p.calibrated, p.high) for p in points]
    bottoms = [min(p.noisy or p.calibrated, p.low) for p in points]
    if max(tops) > 3 * min(bottoms):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(min(bottoms) / 1.12, max(tops) * 1.18)
    else:
        span = max(max(tops) - min(bottoms), 0.02 * max(tops))
        axes.set_ylim(min(bottoms) - 0.12 * span, max(tops) + 0.16 * span)
    model = "full-size shape" if scaled else "tiny model"
    axes.set_xlabel(f"energy per token, {model} ({unit}, log scale)")
    log = ", log scale" if axes.get_yscale() == "log" else ""
    axes.set_ylabel(f"perplexity (lower is better{log})")
    handles, labels = axes.get_legend_handles_labels()
    hollow = Line2D([], [], marker="o", ls="", mfc="white", mec=GREY)
    before = {"before calibration": hollow}
    if any(p.noisy is None for p in points):
        off = Line2D([], [], marker="^", ls="", mfc="white", mec=GREY)
        before["destroyed before calibration"] = off
    axes.legend(
        [*handles, *before.values()],
        [*labels, *before],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.14),
        ncols=2,
    )


def _draw_nothing(axes: Axes) -> None:
    """Say that no chip is left to compare."""
    axes.set_xticks([])
    axes.set_yticks([])
    said = "every chip is destroyed: none to compare"
    axes.text(0.5, 0.5, said, transform=axes.transAxes, ha="center", va="center")


def _number_points(
    figure: Figure, axes: Axes, points: Sequence[_Point], front: NDArray[np.float64]
) -> None:
    """Write each chip's number beside its point, where it hides nothing.

    Points that coincide share a label. Candidate places lie around the point; the one whose
    box has the most room to points, error bars, lines and numbers placed so far wins.
    """
    figure.canvas.draw()
    scale = figure.dpi / 72
    taken = [*_drawn(axes, points), *axes.transData.transform(front)]
    box = axes.get_window_extent()
    ring = [(np.cos(a), np.sin(a)) for a in np.pi * np.array([0.25, 0, 0.75, 1, 1.25, 1.75])]
    for members in _coinciding(axes, points, NEAR_PT * scale):
        p = members[0]
        name = ", ".join(str(m.design.index) for m in members)
        half = np.array([len(name) * DIGIT_PT / 2, LABEL_PT / 2])
        centre = np.asarray(axes.transData.transform((p.energy, p.calibrated)))
        best, best_room = np.array([0.0, 0.0]), -np.inf
        for radius in (7.0, 12.0):
            for direction in ring:
                offset = (radius + half) * np.array(direction)
                place = centre + offset * scale
                low, high = place - half * scale, place + half * scale
                inside = (low > (box.x0, box.y0)).all() and (high < (box.x1, box.y1)).all()
                gaps = np.maximum(np.maximum(low - taken, taken - high), 0.0)
                room = float(np.hypot(*gaps.T).min())
                room = min(room, 6.0 * scale) - (0.0 if inside else 1e3) - radius / 100
                if room > best_room:
                    best, best_room = offset, room
        across = np.linspace(-half[0], half[0], 5)
        taken += [centre + (best + np.array([x, 0.0])) * scale for x in across]
        axes.annotate(
            name,
            (p.energy, p.calibrated),
            xytext=(float(best[0]), float(best[1])),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8.5,
            fontweight="bold",
            color=INK,
        )


def _drawn(axes: Axes, points: Sequence[_Point]) -> list[NDArray[np.float64]]:
    """Return where points, error bars and the lines between points lie, in pixels."""
    found: list[NDArray[np.float64]] = []
    for p in points:
        noisy_end = p.calibrated if p.noisy is None else p.noisy
        ends = ((p.energy, y) for y in (p.low, p.high, noisy_end, p.calibrated))
        low, high, noisy, calibrated = (axes.transData.transform(e) for e in ends)
        for start, stop in ((low, high), (noisy, calibrated)):
            found += list(np.linspace(start, stop, 40))
    return found


def _coinciding(axes: Axes, points: Sequence[_Point], near_px: float) -> list[list[_Point]]:
    """Group points that cannot be told apart, by the first of each group."""
    groups: list[tuple[NDArray[np.float64], list[_Point]]] = []
    for p in sorted(points, key=lambda p: p.design.index):
        place = np.asarray(axes.transData.transform((p.energy, p.calibrated)))
        for centre, members in groups:
            if float(np.hypot(*(place - centre))) < near_px:
                members.append(p)
                break
        else:
            groups.append((place, [p]))
    return [members for _, members in groups]


def _draw_key(axes: Axes, view: View, *, scaled: bool) -> None:
    """List the numbered chips: name, technology, bits, area."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    step = 1.0 / max(10, len(view.designs))
    for i, design in enumerate(view.designs):
        y = 1.0 - i * step
        row = design.scale() if scaled else None
        area = number(design.row if row is None else row, "area_mm2")
        weight, inputs = design.bits
        about = f"{design.technology}, w{weight}/i{inputs} b, {design.adc}, {significant(area)} mm²"
        if design.destroyed:
            lost = significant(number(design.row, "ppl_calibrated_mean"), 4)
            about = f"destroyed (perplexity {lost}): not drawn"
        axes.text(0.0, y, f"{design.index}", fontweight="bold", va="top", fontsize=8.5)
        axes.text(0.09, y, short(design.name, 30), va="top", fontsize=8.5)
        axes.text(
            0.09,
            y - 0.42 * step,
            about,
            va="top",
            fontsize=7.2,
            color=LOST if design.destroyed else "#52606d",
        )


def _alt(view: View, points: dict[int, _Point], unit: str) -> str:
    listed = "; ".join(
        f"{short(d.name, 40)}: {points[d.index].calibrated:.3g} at "
        f"{points[d.index].energy:.3g} {unit}"
        if d.index in points
        else f"{short(d.name, 40)}: destroyed"
        for d in view.designs
    )
    return f"Scatter of calibrated perplexity against energy per token. {listed}."
