"""The one place where figures are set up and become bytes: the same ones every time.

What a reader of a figure sees follows from the numbers alone. A user's matplotlibrc, a style or
a backend of a notebook is left aside, and no file says when it was written.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style as mpl_style
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cimsim.text_file import write_whole

__all__ = ["GREY", "INK", "drawing", "hover", "rendered", "write_drawing"]

INK = "#1f2933"
GREY = "#8a94a0"

STYLE: Any = {
    "svg.hashsalt": "cimsim",
    # A name with dollars is a name, not a formula.
    "text.parse_math": False,
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
# Without a date, and without the version of what wrote it.
METADATA: dict[str, dict[str, str | None]] = {
    "svg": {"Date": None, "Creator": "cimsim"},
    "png": {"Software": "cimsim"},
    "pdf": {"CreationDate": None, "Creator": "cimsim", "Producer": "cimsim"},
}


def hover(artist: Artist, words: str) -> None:
    """Say something of a line or patch when a reader points at it in an SVG.

    Args:
        artist: what is drawn.
        words: its values.
    """
    artist.set_gid(f"{_HOVER}{words}")


@contextmanager
def drawing(width_in: float, height_in: float) -> Iterator[Figure]:
    """Yield an empty figure in the house style; render it before the context ends.

    Args:
        width_in: width in inches.
        height_in: height in inches.
    """
    with mpl_style.context(STYLE, after_reset=True):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def rendered(figure: Figure, kind: str) -> bytes:
    """Return a figure as a file; call it inside `drawing`.

    Args:
        figure: what was drawn.
        kind: svg, png or pdf.
    """
    found = io.BytesIO()
    # What is marked to be pixels within a drawing has the resolution of the PNG.
    figure.savefig(found, format=kind, dpi=PNG_DPI, metadata=METADATA[kind])
    return _compact(found.getvalue()) if kind == "svg" else found.getvalue()


def write_drawing(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all; call it inside `drawing`.

    Args:
        figure: what was drawn.
        path: file whose ending, one of svg, png or pdf, is its kind.

    Raises:
        CimsimError: if the file cannot be written.
    """
    write_whole(path, rendered(figure, path.suffix.lower().lstrip(".")))


# Names of groups that nothing refers to; clip paths and markers have other names.
_HOVER = "hover: "
_HOVERED = re.compile(rf'<g id="{_HOVER}([^"]*)">')
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
    text = _HOVERED.sub(r"<g><title>\1</title>", text)
    text = _GROUP_ID.sub("", text)
    text = re.sub(r"\s*\n\s*", "\n", text)
    return text.encode("utf-8")
