"""Figures of the command line; matplotlib is imported only when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError

__all__ = ["draw_panels"]

_FORMATS = ("svg", "png", "pdf")


def draw_panels(
    path: Path,
    panels: Sequence[tuple[str, NDArray[np.float64]]],
    label: str,
    axes: tuple[str, str],
) -> None:
    """Draw one heat map a policy on a common colour scale.

    Args:
        path: svg, png or pdf file; written whole or not at all.
        panels: (title, values [rows, columns]); NaN is left white.
        label: what a value is, with its unit.
        axes: names of columns and rows.

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
    import matplotlib as mpl  # noqa: PLC0415 - half a second that only figures pay for
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.9 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    high = max(float(np.nanmax(values)) for _, values in panels)
    grid = figure.subplots(rows, columns, squeeze=False)
    image = None
    for i, axis in enumerate(grid.ravel()):
        if i >= len(panels):
            axis.set_axis_off()
            continue
        title, values = panels[i]
        image = axis.imshow(values, vmin=0.0, vmax=high, cmap="viridis", aspect="auto")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(axes[0], fontsize=8)
        axis.set_ylabel(axes[1], fontsize=8)
        axis.tick_params(labelsize=7)
    if image is not None:
        figure.colorbar(image, ax=grid.ravel().tolist(), label=label)
    draft = path.with_name(f".{path.name}.part")
    with mpl.rc_context({"svg.hashsalt": "moe_mapping"}):
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(draft, format=kind, metadata=metadata)
    draft.replace(path)
