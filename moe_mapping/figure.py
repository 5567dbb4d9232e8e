"""Figures of the command line; matplotlib is imported only when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError

if TYPE_CHECKING:
    from moe_mapping.table import ChipRow, SlotRow

__all__ = ["draw_chip", "draw_panels", "draw_slots"]

Floats = NDArray[np.float64]

_FORMATS = ("svg", "png", "pdf")


def draw_panels(
    path: Path,
    panels: Sequence[tuple[str, Floats]],
    label: str,
    axes: tuple[str, str],
    *,
    square: bool = False,
) -> None:
    """Draw one heat map per policy on a common colour scale.

    Args:
        path: svg, png or pdf file; written whole or not at all.
        panels: (title, values [rows, columns]); NaN is left white.
        label: what a value is, with its unit.
        axes: names of columns and rows.
        square: whether a value is drawn as a square.

    Raises:
        CimsimError: for an unknown file format or a folder that does not exist.
    """
    kind = path.suffix.lower().lstrip(".")
    if kind not in _FORMATS:
        raise CimsimError(
            "unknown figure format", value=path.name, allowed=", ".join(f".{f}" for f in _FORMATS)
        )
    if not path.parent.is_dir():
        raise CimsimError("the folder of the figure does not exist", file=path.parent)
    # Half a second that only figures pay for.
    from cimsim.drawing import drawing, write_drawing  # noqa: PLC0415

    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    with drawing(3.2 * columns, 2.9 * rows) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        image = _draw(grid, panels, axes, "equal" if square else "auto")
        figure.colorbar(image, ax=grid.tolist(), label=label)
        write_drawing(figure, path)


def _draw(
    grid: NDArray[np.object_],
    panels: Sequence[tuple[str, Floats]],
    names: tuple[str, str],
    aspect: Literal["equal", "auto"],
) -> Any:
    """Draw every panel on its axes in `grid` and leave the others empty; return the last image."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    high = max(float(np.nanmax(values)) for _, values in panels)
    for axis in grid[len(panels) :]:
        axis.set_axis_off()
    for axis, (title, values) in zip(grid, panels, strict=False):
        image = axis.imshow(values, vmin=0.0, vmax=high, cmap="viridis", aspect=aspect)
        axis.grid(visible=False)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(names[0], fontsize=8)
        axis.set_ylabel(names[1], fontsize=8)
        axis.tick_params(labelsize=7)
    return image


def draw_chip(path: Path, rows: Sequence[ChipRow], cells: NDArray[np.int64]) -> None:
    """Draw the busy time of every tile where it lies, a panel per policy.

    Args:
        path: of the figure.
        rows: one per policy.
        cells: column and row of every tile, [tiles, 2].
    """
    x, y = cells.T
    slowest = max(row.score.slowest_tile_ps for row in rows)
    scale, unit = (1e9, "ms") if slowest >= 1e9 else (1e6, "us")
    panels = []
    for row in rows:
        mesh = np.full((int(y.max()) + 1, int(x.max()) + 1), np.nan)
        mesh[y, x] = row.tile_times_ps / scale
        panels.append(
            (f"{row.policy}: slowest {row.score.slowest_tile_ps / scale:.3g} {unit}", mesh)
        )
    axes = ("x [tiles]", "y [tiles]")
    draw_panels(path, panels, f"tile busy time [{unit}]", axes, square=True)


def draw_slots(path: Path, rows: Sequence[SlotRow], loads: Floats, devices: int) -> None:
    """Draw the load of every device by layer, a panel per policy."""
    panels = []
    for row in rows:
        share = loads / row.plan.replicas
        load = np.take_along_axis(share, row.plan.phy2log, axis=1)
        load = load.reshape(loads.shape[0], devices, -1).sum(axis=2)
        title = f"{row.policy}: {row.plan.balance.mean():.4f}"
        panels.append((title, load / load.mean(axis=1, keepdims=True)))
    draw_panels(path, panels, "GPU load / mean", ("GPU", "layer"))
