"""How busy the network is: links and tiles of every chip on the mesh."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cimsim.chip.topology import read_direction
from cimsim.report.canvas import GREY, INK, Picture, drawing, picture
from cimsim.report.cells import number
from cimsim.report.view import Design
from cimsim.results import Row

__all__ = ["network_map"]

Line = tuple[tuple[float, float], tuple[float, float]]
APART = 0.09  # the two directions of a link are drawn side by side
SHOWN_CHIPS = 6
MOST_LINES = 150  # more are pixels in the file: a path each would outweigh all other figures


def network_map(design: Design, folder: str) -> Picture:
    """Draw the utilisation of links between routers, and of the busiest tile at each router.

    Args:
        design: the chip, with resources.
        folder: folder of its figures.
    """
    rows = design.chip.resources
    chips = sorted({int(number(r, "chip")) for r in rows if r["kind"] == "tile"})[:SHOWN_CHIPS]
    links = [r for r in rows if r["kind"] == "link"]
    top = max([number(r, "utilisation") for r in links], default=0.0) or 1.0
    busiest = max(links, key=lambda r: number(r, "utilisation"), default=None)
    across = min(3, len(chips))
    down = -(-len(chips) // across)
    with drawing(1.6 + 3.6 * across, 0.5 + 3.6 * down) as figure:
        panels = np.atleast_1d(figure.subplots(down, across)).ravel()
        drawn = None
        for axes, chip in zip(panels, chips, strict=False):
            mine = [r for r in rows if number(r, "chip") == chip]
            drawn = _draw_chip(axes, mine, top)
            axes.set_title(f"chip {chip}" if len(chips) > 1 else "links and tiles")
        for axes in panels[len(chips) :]:
            axes.set_visible(False)
        if drawn is not None:
            bar = figure.colorbar(drawn, ax=list(panels), shrink=0.8)
            bar.set_label("utilisation of a link")
            _key_sizes(figure)
        name = "no link was used" if busiest is None else f"{busiest['resource']}"
        share = 0.0 if busiest is None else number(busiest, "utilisation")
        return picture(
            figure,
            f"{folder}network",
            "How busy links and tiles are (tiny model, decode)",
            "Lines: links between routers, light where busy as on the map of tiles; the two "
            "directions lie side by side, each to the right of the way it goes, arrows point "
            "along. Squares: routers, the larger the busier their busiest tile. Numbers: "
            "resources.csv.",
            f"Map of {len(links)} links in use; the busiest is {name} at {100 * share:.0f} %.",
            png=False,
        )


def _sizes(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the areas of squares, in points^2, of tiles busy for these shares of the time."""
    return 6 + 120 * shares


def _key_sizes(figure: Figure) -> None:
    """Say how large a square is how busy a tile."""
    shares = np.array([0.0, 0.5, 1.0])
    keys = [
        Line2D([], [], marker="s", ls="", color=GREY, ms=float(size) ** 0.5)
        for size in _sizes(shares)
    ]
    labels = [f"tile busy {share:.0%}" for share in shares]
    figure.legend(keys, labels, loc="outside lower left", ncols=3)


def _point_along(axes: Axes, lines: Sequence[Line]) -> None:
    """Put an arrow in the middle of every link, along its way."""
    for (x0, y0), (x1, y1) in lines:
        angle = np.degrees(np.arctan2(y0 - y1, x1 - x0))  # y grows downwards
        axes.plot(
            (x0 + x1) / 2, (y0 + y1) / 2, marker=(3, 0, float(angle) - 90.0), ms=3.5, color=INK,
            mew=0,
        )  # fmt: skip


def _draw_chip(axes: Axes, rows: Sequence[Row], top: float) -> LineCollection:
    tiles: dict[tuple[int, int], float] = {}
    lines: list[Line] = []
    shares: list[float] = []
    width = 1 + max(int(number(r, "x")) for r in rows)
    height = 1 + max(int(number(r, "y")) for r in rows)
    for row in rows:
        x, y = int(number(row, "x")), int(number(row, "y"))
        share = number(row, "utilisation")
        if row["kind"] == "tile":
            tiles[x, y] = max(tiles.get((x, y), 0.0), share)
        elif row["kind"] == "link":
            dx, dy = read_direction(str(row["direction"]))
            # A link around the edge of a torus is drawn as a stub that leaves the mesh.
            inside = 0 <= x + dx < width and 0 <= y + dy < height
            length = 1.0 if inside else 0.4
            aside = APART / hypot(dx, dy)
            side_x, side_y = -aside * dy, aside * dx
            start = (x + side_x, y + side_y)
            lines.append((start, (start[0] + length * dx, start[1] + length * dy)))
            shares.append(share)
    collection = LineCollection(lines, cmap="cividis", norm=Normalize(0, top), linewidths=2.6)
    collection.set_array(np.array(shares))
    collection.set_rasterized(len(lines) > MOST_LINES)
    axes.add_collection(collection)
    if len(lines) <= MOST_LINES:
        _point_along(axes, lines)
    places = np.array(list(tiles), dtype=np.float64).reshape(-1, 2)
    sizes = _sizes(np.array(list(tiles.values())))
    squares = axes.scatter(places[:, 0], places[:, 1], s=sizes, marker="s", color=GREY, zorder=3)
    squares.set_rasterized(len(lines) > MOST_LINES)
    axes.set_xlim(-0.6, width - 0.4)
    axes.set_ylim(height - 0.4, -0.6)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.set_xlabel("router x")
    axes.set_ylabel("router y")
    axes.set_facecolor("#eceff2")
    axes.set_xticks([0, width - 1] if width > 1 else [0])
    axes.set_yticks([0, height - 1] if height > 1 else [0])
    return collection
