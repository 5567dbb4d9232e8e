"""The ADC sweep as a figure: a column per model; above by rows, below by bits per cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cimsim.cost.adc_sweep import CELL_BITS, MODELS, ROWS, SweepPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["write_adc_sweep"]

FIXED_CELL_BITS, FIXED_ROWS = 2, 128


def write_adc_sweep(path: Path, points: Sequence[SweepPoint], rate_gsps: float) -> None:
    """Draw ADC energy per MAC over ADC bits for every model.

    Args:
        path: .png or .svg file.
        points: the grid.
        rate_gsps: conversions per second of one ADC.
    """
    from cimsim.drawing import drawing, write_drawing

    with drawing(11.0, 6.4) as figure:
        axes = figure.subplots(2, len(MODELS), sharex=True, sharey=True)
        for column, model in enumerate(MODELS):
            mine = [p for p in points if p.model == model]
            top = [p for p in mine if p.cell_bits == FIXED_CELL_BITS]
            low = [p for p in mine if p.rows == FIXED_ROWS]
            _draw(axes[0, column], top, "rows", ROWS)
            _draw(axes[1, column], low, "cell_bits", CELL_BITS)
            axes[0, column].set_title(model)
            axes[1, column].set_xlabel("ADC bits")
        axes[0, 0].set_ylabel(f"ADC energy per MAC (fJ), {FIXED_CELL_BITS}-bit cells")
        axes[1, 0].set_ylabel(f"ADC energy per MAC (fJ), {FIXED_ROWS} rows")
        axes[0, 0].set_yscale("log")
        for row, title in ((0, "rows"), (1, "bits per cell")):
            axes[row, -1].legend(title=title, loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.suptitle(
            f"Four ADC models side by side, 32 nm, {rate_gsps:g} GS/s, 8-bit weights and inputs, "
            "1-bit DACs; filled: every column sum fits the bits",
            fontsize=10,
        )
        write_drawing(figure, path)


def _draw(axes: Axes, points: Sequence[SweepPoint], knob: str, values: Sequence[int]) -> None:
    import matplotlib as mpl

    colours = mpl.colormaps["viridis"]
    for i, value in enumerate(values):
        line = sorted((p for p in points if getattr(p, knob) == value), key=lambda p: p.adc_bits)
        colour = colours(0.9 * i / (len(values) - 1))
        x, y = [p.adc_bits for p in line], [p.adc_fj_per_mac for p in line]
        axes.plot(x, y, color=colour, lw=1.2, label=f"{value}")
        for p in line:
            face = colour if p.lossless else "white"
            axes.plot(p.adc_bits, p.adc_fj_per_mac, "o", ms=4, color=colour, mfc=face, mew=0.9)
