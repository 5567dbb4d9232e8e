"""Colours of a report's figures, and figures with all that a page says about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from cimsim.drawing import GREY, INK, drawing, hover, rendered
from cimsim.text_file import write_whole

__all__ = [
    "BLUE",
    "GREY",
    "INK",
    "ORANGE",
    "PALETTE",
    "Picture",
    "drawing",
    "hover",
    "picture",
    "short",
    "write_picture",
]

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
    svg = rendered(figure, "svg")
    return Picture(name, title, caption, alt, svg, rendered(figure, "png") if png else None)


def write_picture(drawn: Picture, path: Path) -> None:
    """Write a picture, whole or not at all.

    Args:
        drawn: the picture, with pixels.
        path: file that ends in .png or .svg.

    Raises:
        CimsimError: if the file cannot be written.
    """
    png = drawn.png if path.suffix.lower() == ".png" else None
    write_whole(path, drawn.svg if png is None else png)


def short(name: str, limit: int = 26) -> str:
    """Return a name that fits beside an axis: the middle of a long one is left out."""
    if len(name) <= limit:
        return name
    head = (limit - 1) * 2 // 3
    return f"{name[:head]}…{name[-(limit - 1 - head) :]}"
