"""How every figure looks, and how it becomes the same bytes every time."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["BLUE", "GREY", "INK", "ORANGE", "PALETTE", "Picture", "drawing", "picture", "short"]

INK = "#1f2933"
GREY = "#8a94a0"
BLUE = "#2166ac"
ORANGE = "#d9730d"
# Distinct in hue and lightness, also for readers who do not see red and green apart.
PALETTE = (
    "#2166ac",
    "#d9730d",
    "#67a9cf",
    "#f2b134",
    "#4d9221",
    "#a6d96a",
    "#762a83",
    "#c994c7",
    "#5c6670",
    "#00a087",
    "#b2182b",
    "#8c510a",
    "#c9ced4",
    "#3b4cc0",
    "#e4e0d8",
)

STYLE: Any = {
    "svg.hashsalt": "cimsim",
    # Text stays text: small files that can be searched. The fonts after the first are no
    # wider, so a reader's machine without it shows no overlaps.
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial", "sans-serif"],
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.color": INK,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
PNG_DPI = 110


@dataclass(frozen=True)
class Picture:
    """A finished figure.

    Attributes:
        name: file name without suffix, with forward slashes for folders.
        title: heading.
        caption: what to see in it, and where its numbers are.
        alt: what a reader who cannot see it must know.
        svg: as SVG.
        png: as PNG, or None for a figure that is only wanted as SVG.
    """

    name: str
    title: str
    caption: str
    alt: str
    svg: bytes
    png: bytes | None


@contextmanager
def drawing(width_in: float, height_in: float) -> Iterator[Figure]:
    """Yield an empty figure in the house style, without touching global state.

    Args:
        width_in: width in inches.
        height_in: height in inches.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def picture(
    figure: Figure, name: str, title: str, caption: str, alt: str, *, png: bool = True
) -> Picture:
    """Render a figure; call it inside `drawing`.

    Args:
        figure: what was drawn.
        name: file name without suffix.
        title: heading.
        caption: what to see in it.
        alt: text for readers who cannot see it.
        png: whether to render pixels too.
    """
    # Lay out once, so that both files look the same and layout is not solved twice.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    vectors, pixels = io.BytesIO(), io.BytesIO()
    # What is marked to be pixels within the drawing has the resolution of the other file.
    figure.savefig(vectors, format="svg", dpi=PNG_DPI, metadata={"Date": None, "Creator": "cimsim"})
    if png:
        figure.savefig(pixels, format="png", dpi=PNG_DPI, metadata={"Software": "cimsim"})
    svg = _compact(vectors.getvalue())
    return Picture(name, title, caption, alt, svg, pixels.getvalue() if png else None)


# Names of groups that nothing refers to; clip paths and markers have other names.
_GROUP_ID = re.compile(
    r' id="(figure|axes|text|patch|line2d|matplotlib\.axis|xtick|ytick|legend|[A-Za-z]*Collection'
    r')_\d+"'
)


def _compact(svg: bytes) -> bytes:
    """Cut coordinates to a hundredth of a point; drop comments, blanks and unused names."""
    text = svg.decode("utf-8")
    text = re.sub(r' d="[^"]*"', lambda d: re.sub(r"(\.\d\d)\d+", r"\1", d.group()), text)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = _GROUP_ID.sub("", text)
    text = re.sub(r"\s*\n\s*", "\n", text)
    return text.encode("utf-8")


def short(name: str, limit: int = 26) -> str:
    """Return a name that fits beside an axis: the middle of a long one is left out."""
    if len(name) <= limit:
        return name
    head = (limit - 1) * 2 // 3
    return f"{name[:head]}…{name[-(limit - 1 - head) :]}"
