"""Figures of one chip: tiles on the mesh, experts, latency."""

from __future__ import annotations

from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from cimsim.report.canvas import BLUE, GREY, INK, ORANGE, Picture, drawing, hover, picture
from cimsim.report.cells import time_unit
from cimsim.report.view import Design
from cimsim.results import ExpertLoad, LatencySamples, TileLoad
from cimsim.results.statistics import load_cv, percentile

__all__ = ["expert_load_histogram", "latency_distribution", "tile_load_map"]

PS_PER_US = 1e6
ANNOTATED_TILES = 64
# On a dark field; it stays white where a page is dark, where what is #ffffff becomes paper.
WHITE = "#fefefe"


def tile_load_map(design: Design, folder: str) -> Picture:
    """Draw the busy time of every tile on the mesh.

    Args:
        design: the chip.
        folder: folder of its figures.
    """
    load = design.chip.tile_load
    panels = [
        ("as mapped", load.noisy_ps, load.holds_weights),
        ("after calibration", load.calibrated_ps, load.holds_weights),
    ]
    if load.round_robin_ps is not None:
        holds = load.round_robin_holds_weights
        holds = load.round_robin_ps > 0 if holds is None else holds
        panels.insert(0, ("round-robin, no copies", load.round_robin_ps, holds))
    columns, rows = (load.cells.max(axis=0) + 1).tolist()
    with drawing(9.2, min(5.0, 1.15 + 2.75 * rows / columns * 3 / len(panels))) as figure:
        axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
        unit, size = time_unit([max(float(values.max()) for _, values, _ in panels) / PS_PER_US])
        top = max(float(values.max()) for _, values, _ in panels) / PS_PER_US / size
        image = None
        for ax, (label, values, holds) in zip(axes, panels, strict=True):
            grid = _on_mesh(load, values, holds) / size
            image = ax.imshow(grid, cmap="cividis", norm=Normalize(0, top), aspect="equal")
            ax.set_title(f"{label}\nmax/mean {_ratio(values, holds)}", fontsize=8.5)
            ax.set_facecolor("#eceff2")
            ax.set_xlabel("router x")
            ax.grid(visible=False)
            ax.set_xticks([0, columns - 1] if columns > 1 else [0])
            ax.set_yticks([0, rows - 1] if rows > 1 else [0])
            if len(values) <= ANNOTATED_TILES and rows <= 8:
                _write_values(ax, grid, top)
        axes[0].set_ylabel("router y")
        if image is not None:
            figure.colorbar(image, ax=list(axes), label=f"busy time ({unit})", shrink=0.8)
        ratios = ", ".join(f"{label} {_ratio(v, holds)}" for label, v, holds in panels)
        return picture(
            figure,
            f"{folder}tile_load",
            "Load of tiles on the mesh (tiny model, decode)",
            "Sum over visits of vectors x interval for every tile at its place on the mesh. "
            "Grey: no weight. Round-robin and mapped use the same routing. Numbers: tile_load.csv.",
            f"Heat maps of tile load on {len(load.noisy_ps)} tiles; max over mean: {ratios}.",
            png=False,
        )


def _ratio(values: NDArray[np.int64], holds: NDArray[np.bool_]) -> str:
    return f"{TileLoad.max_over_mean(values, holds):.2f}"


def _on_mesh(
    load: TileLoad, values: NDArray[np.int64], holds: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Lay tiles out on the mesh in us."""
    x, y = load.cells.T
    grid = np.full((int(y.max()) + 1, int(x.max()) + 1), np.nan)
    grid[y, x] = np.where(holds, values / PS_PER_US, np.nan)
    return grid


def _write_values(axes: Axes, grid: NDArray[np.float64], top: float) -> None:
    digits = 0 if top >= 100 else 1 if top >= 10 else 2
    for y, x in np.argwhere(~np.isnan(grid)):
        value = grid[y, x]
        colour = WHITE if value < 0.55 * top else INK
        size = 7.0 if grid.shape[1] <= 6 and top < 1e4 else 6.5
        axes.text(
            x, y, f"{value:.{digits}f}", ha="center", va="center", fontsize=size, color=colour
        )


def expert_load_histogram(design: Design, folder: str) -> Picture:
    """Draw how many experts carry how much load, before and after.

    Args:
        design: the chip.
        folder: folder of its figures.
    """
    load = design.chip.expert_load
    stages = (
        ("float model", load.clean, GREY, 2.6, "-"),
        ("on the chip", load.noisy, ORANGE, 1.6, "-"),
        ("after calibration", load.calibrated, BLUE, 1.6, "--"),
    )
    relative = [counts / counts.mean(axis=1, keepdims=True) for _, counts, *_ in stages]
    top = max(float(r.max()) for r in relative)
    edges = np.linspace(0, ceil(top * 4) / 4, 25)
    with drawing(9.2, 2.9) as figure:
        left, right = figure.subplots(1, 2)
        for (label, counts, colour, width, line), share in zip(stages, relative, strict=True):
            cv = load_cv(counts).mean()
            height, _ = np.histogram(share.ravel(), edges)
            left.stairs(
                height, edges, color=colour, lw=width, ls=line, label=f"{label} (CV {cv:.3f})"
            )
            ranked = np.sort(share, axis=1)[:, ::-1].mean(axis=0)
            rank = np.arange(1, len(ranked) + 1)
            right.plot(rank, ranked, color=colour, lw=width, ls=line)
        left.axvline(1.0, color=INK, lw=0.8, ls=":")
        left.set_xlabel("load of an expert / mean of its layer")
        left.set_ylabel("experts (all MoE layers)")
        left.set_xlim(0, edges[-1])
        left.set_ylim(0, None)
        right.axhline(1.0, color=INK, lw=0.8, ls=":")
        right.set_xlabel("expert, busiest first")
        right.set_ylabel("load / mean (mean over layers)")
        right.set_ylim(0, None)
        right.set_xlim(1, load.clean.shape[1])
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=3)
        return picture(
            figure,
            f"{folder}expert_load",
            "Load of experts before and after calibration",
            "Left: how many experts carry which load. Right: load by rank. 1 is an even load; "
            "CV is standard deviation over mean. Numbers: expert_load.csv.",
            _expert_alt(load),
            png=False,
        )


def _expert_alt(load: ExpertLoad) -> str:
    values = ", ".join(
        f"{label} {load_cv(counts).mean():.3f}"
        for label, counts in (
            ("float", load.clean),
            ("on the chip", load.noisy),
            ("calibrated", load.calibrated),
        )
    )
    return f"Histogram of expert load; coefficient of variation: {values}."


def latency_distribution(design: Design, folder: str) -> Picture:
    """Draw the distribution of the time per token in decode, with median and p99.

    Args:
        design: the chip.
        folder: folder of its figures.
    """
    decode = [s for s in design.chip.latency if s.phase.startswith("decode")]
    phases = list(dict.fromkeys(s.phase for s in decode))
    notes = []
    with drawing(9.2, 3.1) as figure:
        panels = np.atleast_1d(figure.subplots(1, len(phases), sharey=True))
        for axes, phase in zip(panels, phases, strict=True):
            notes += [_draw_cdf(axes, samples) for samples in decode if samples.phase == phase]
            batch = phase.removeprefix("decode_b")
            axes.set_xlabel(f"time per token, decode, batch {batch} (us)")
            axes.set_ylim(0, 1.02)
            axes.set_xlim(0, None)
            axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0))
        panels[0].set_ylabel("share of tokens")
        return picture(
            figure,
            f"{folder}latency",
            "Distribution of the time per token (tiny model)",
            "Share of tokens that take at most this long. Dot: median; triangle: 99th "
            "percentile, drawn with at least 100 samples. Numbers: latency.csv.",
            f"Cumulative distributions of decode latency. {'; '.join(notes)}.",
            png=False,
        )


def _draw_cdf(axes: Axes, samples: LatencySamples) -> str:
    before = samples.stage == "noisy"
    colour, label = (ORANGE, "before") if before else (BLUE, "after")
    values = np.sort(samples.latency_us)
    share = np.arange(1, len(values) + 1) / len(values)
    # So many points draw the same line as thousands.
    keep = np.unique(np.linspace(0, len(values) - 1, min(160, len(values))).astype(np.int64))
    line = "-" if before else "--"
    p50, p99 = percentile(values, 50), percentile(values, 99)
    tail = "" if p99 is None else f", p99 {p99:,.4g}"
    (curve,) = axes.step(
        values[keep],
        share[keep],
        where="post",
        color=colour,
        ls=line,
        lw=1.5,
        label=f"{label} calibration: p50 {p50:,.4g}{tail}",
    )
    hover(curve, f"{label} calibration: p50 {p50:,.4g} us{tail}")
    axes.plot([p50 or 0.0], [0.5], "o", color=colour, ms=5)
    if p99 is not None:
        axes.plot([p99], [0.99], "^", color=colour, ms=6)
    return f"{samples.phase} {label} calibration: median {p50:.4g} us{tail}"
