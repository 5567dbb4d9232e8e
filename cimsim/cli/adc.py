"""``cimsim adc``: four ADC models side by side over bits, rows and bits per cell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cimsim.cli.options import AsJson

if TYPE_CHECKING:
    from cimsim.cost.adc_sweep import SweepPoint

SHOWN_CELL_BITS = 2


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("adc")(adc)


def adc(
    rate: Annotated[
        float, typer.Option(min=1e-6, help="Conversions of one ADC a nanosecond (GS/s).")
    ] = 0.1,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the sweep into this file (.png, .svg).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sweep ADC bits, rows and bits per cell; exit 1 if a trend breaks physics."""
    import json
    from dataclasses import asdict

    from cimsim.cli.figure_path import check_figure
    from cimsim.cost.adc_sweep import broken_steps, sweep_adc

    check_figure(plot, "--plot")
    points = sweep_adc(rate)
    checked, broken = broken_steps(points)
    if as_json:
        rows = [asdict(p) for p in points]
        print(json.dumps({"checked": checked, "broken": list(broken), "points": rows}, indent=1))
    else:
        print("\n".join(_lines(points, rate, checked, broken)))
    if plot is not None:
        from cimsim.cli.adc_figure import write_adc_sweep

        write_adc_sweep(plot, points, rate)
    if broken:
        raise typer.Exit(1)


def _lines(
    points: tuple[SweepPoint, ...], rate: float, checked: int, broken: tuple[str, ...]
) -> list[str]:
    """Return a block a model, at one number of bits per cell, and what was checked."""
    from cimsim.cost.adc_sweep import ADC_BITS, MODELS, ROWS

    lines = [
        f"ADC energy per MAC in fJ, {SHOWN_CELL_BITS}-bit cells, 8-bit weights and inputs, 32 nm,",
        f"{rate:g} GS/s; * holds every column sum, ~ outside the model's source",
    ]
    at = {(p.model, p.rows, p.adc_bits): p for p in points if p.cell_bits == SHOWN_CELL_BITS}
    for model in MODELS:
        lines.append(f"{model:<12}" + "".join(f"{b} b".rjust(9) for b in ADC_BITS))
        for rows in ROWS:
            cells = [_cell(at[model, rows, b]) for b in ADC_BITS]
            lines.append(f"{rows:>6} rows " + "".join(c.rjust(9) for c in cells))
    grid = f"{len(points)} points, {checked} steps along bits, rows and cell bits"
    return [*lines, f"{grid}: {len(broken)} against physics", *broken[:10]]


def _cell(point: SweepPoint) -> str:
    marks = ("*" if point.lossless else "") + ("~" if point.extrapolated else "")
    return f"{point.adc_fj_per_mac:.3g}{marks}"
