"""Figures of the map: phase diagrams of errors by size, and what routing says of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cimsim.report.canvas import Picture, drawing, picture
from romer.study.map_plan import CLASSES
from romer.study.map_tables import ENDPOINTS

__all__ = ["map_figures"]

Row = dict[str, Any]
HALF = 0.5
PAPER_CUT = 0.59  # mean of the paper's best cuts of perplexity, 58.6 to 59.8 %
_LEAST, _MOST = -0.25, 1.0


def map_figures(rows: Sequence[Row]) -> tuple[Picture, ...]:
    """Draw a phase diagram per model and parts, and the mechanism over all places."""
    pairs = dict.fromkeys((r["model"], r["parts"]) for r in rows)
    return (*(_phases(rows, *pair) for pair in pairs), _mechanism(rows))


def _phases(rows: Sequence[Row], model: str, parts: str) -> Picture:
    """Draw the share that the two steps close, kind by size, before and after trimming."""
    mine = [r for r in rows if r["model"] == model and r["parts"] == parts]
    kinds = list(dict.fromkeys(r["error"] for r in mine))
    columns = max(len({r["size"] for r in mine if r["error"] == kind}) for kind in kinds)
    with drawing(7.5, 1.4 + 0.55 * len(kinds)) as figure:
        both = figure.subplots(1, 2, sharey=True)
        shown = None
        for axes, name, title in zip(
            both, ENDPOINTS, ("before trimming", "after trimming"), strict=True
        ):
            axes.set_title(title, fontsize=9)
            for y, kind in enumerate(kinds):
                cells = [r for r in mine if r["error"] == kind and r["treatment"] == name]
                for x, row in enumerate(cells):
                    shown = _cell(axes, x, y, row)
            axes.set_xlim(-0.5, columns - 0.5)
            axes.set_ylim(len(kinds) - 0.5, -0.5)
            axes.set_xticks([])
            axes.set_yticks(range(len(kinds)), kinds, fontsize=8)
            axes.set_xlabel("size of the error, rising", fontsize=8)
        if shown is not None:
            bar = figure.colorbar(shown, ax=both, shrink=0.8)
            bar.set_label("share of the gap closed (nats)", fontsize=8)
        return picture(
            figure,
            f"phases_{model}_{parts}",
            f"{model}, {parts.replace('_', ' ')}",
            "Share of the gap that the paper's two steps alone close, by kind and size of error. "
            "Thick border: 50 % and more. Dashed border: perplexity cut by as much as the paper "
            "reports. Grey: gap too small for a share, after trimming often because it is gone. "
            "Crossed: destroyed.",
            f"Map of {len(kinds)} kinds of error.",
            png=False,
        )


def _cell(axes: Any, x: int, y: int, row: Row) -> Any:
    """Draw one place; return what the colour bar is of."""
    from matplotlib import colormaps  # noqa: PLC0415 - only the report pays for it
    from matplotlib.cm import ScalarMappable  # noqa: PLC0415
    from matplotlib.colors import TwoSlopeNorm  # noqa: PLC0415
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    share = row["share_closed"]
    scale = ScalarMappable(TwoSlopeNorm(0.0, _LEAST, _MOST), colormaps["RdBu"])
    known = not math.isnan(share)
    colour = scale.to_rgba(np.array([min(max(share, _LEAST), _MOST)]))[0] if known else "#d9d9d9"
    thick = known and share >= HALF
    paper = known and row["cut_ppl"] >= PAPER_CUT
    axes.add_patch(
        Rectangle(
            (x - 0.45, y - 0.42), 0.9, 0.84, facecolor=colour, edgecolor="black",
            linewidth=2.2 if thick or paper else 0.6, linestyle="--" if paper else "-",
            hatch="xx" if row["destroyed"] else None,
        )
    )  # fmt: skip
    word = f"{share:.0%}" if known else ("lost" if row["destroyed"] else "-")
    dark = known and (share > 0.6 or share < -0.15)
    tint = "white" if dark else "black"
    axes.text(x, y - 0.12, word, ha="center", va="center", fontsize=8, color=tint)
    axes.text(x, y + 0.22, f"{row['size']:g}", ha="center", va="center", fontsize=6, color=tint)
    return scale


def _mechanism(rows: Sequence[Row]) -> Picture:
    """Draw what the steps close against how far the error moves load, by class of size."""
    known = [
        r for r in rows if r["treatment"] == ENDPOINTS[0] and not math.isnan(r["share_closed"])
    ]
    with drawing(6.5, 3.6) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for k, name in enumerate(CLASSES):
            some = [r for r in known if r["size_class"] == name]
            if not some:
                continue
            for axes, column in ((left, "load_tv_before"), (right, "agreement_before")):
                axes.scatter(
                    [r[column] for r in some], [r["share_closed"] for r in some], s=18,
                    color=f"C{k}", label=name,
                )  # fmt: skip
        left.set_ylabel("share closed by the two steps")
        left.set_xlabel("total variation of expert load")
        right.set_xlabel("agreement of top-k choices")
        for axes in (left, right):
            axes.axhline(HALF, color="black", linewidth=0.6, linestyle=":")
            axes.axhline(0.0, color="black", linewidth=0.6)
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=5,
                      fontsize=7, frameon=False)  # fmt: skip
        return picture(
            figure,
            "mechanism",
            "Where the steps work",
            "Share closed before trimming against what the error does to routing, a mark a place.",
            f"{len(known)} marks.",
            png=False,
        )
