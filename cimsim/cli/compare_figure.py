"""The figure of ``cimsim compare``: every system beside the reference, figure by figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cimsim.results.scale_rows import FREE_MEMORY

if TYPE_CHECKING:
    from cimsim.stages.compare import Comparison

__all__ = ["write_comparison"]

BLUE, GREY, RED = "#2166ac", "#8a94a0", "#b2182b"
PANELS = (
    ("energy_per_token_nj", 1e-6, "mJ per token"),
    ("tpot_us", 1e-3, "ms per token"),
    ("tokens_per_s", 1.0, "tokens/s"),
    ("power_w", 1.0, "W"),
    ("area_mm2", 1.0, "mm²"),
    ("ppl_mean", 1.0, "perplexity"),
)


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Draw a bar per system and figure; the reference is dark, destroyed chips have no bar.

    Args:
        path: .png or .svg file.
        comparison: what was made equal.
    """
    from cimsim.drawing import drawing, write_drawing

    free = " without the limit of memory" if comparison.phase == FREE_MEMORY else ""
    systems = [s.as_dict() for s in comparison.systems]
    names = [str(s["config"]) for s in systems]
    short = [n if len(n) <= 20 else f"{n[:19]}…" for n in names]
    with drawing(10.0, 1.6 + 0.3 * len(systems)) as figure:
        panels = figure.subplots(1, len(PANELS), sharey=True)
        for axes, (column, size, title) in zip(panels, PANELS, strict=True):
            values = [float(str(s[column])) * size for s in systems]
            lost = [column == "ppl_mean" and s["destroyed"] is True for s in systems]
            bars = [0.0 if gone else v for v, gone in zip(values, lost, strict=True)]
            colours = [BLUE if n == comparison.reference else GREY for n in names]
            axes.barh(range(len(bars)), bars, color=colours, height=0.62)
            axes.set_title(title, fontsize=9)
            axes.set_xlim(0, 1.45 * max(*bars, 1e-12))
            axes.set_xticks([])
            axes.grid(visible=False)
            for at, (bar, value, gone) in enumerate(zip(bars, values, lost, strict=True)):
                said = "destroyed" if gone else f" {_plain(value)}"
                axes.text(bar, at, said, va="center", fontsize=8, color=RED if gone else "black")
        panels[0].set_yticks(range(len(short)), short)
        panels[0].invert_yaxis()
        figure.suptitle(
            f"The {comparison.iso} of one {comparison.reference}: decode{free} at the shape of "
            f"{comparison.shape}, batch {comparison.batch}",
            fontsize=10,
        )
        write_drawing(figure, path)


def _plain(value: float) -> str:
    """Return three digits, written out."""
    return f"{value:,.0f}" if value >= 1000 else f"{float(f'{value:.3g}'):g}"
