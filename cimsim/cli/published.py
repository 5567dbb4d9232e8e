"""``cimsim published``: every published figure against the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli.options import AsJson


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("published")(published)


def published(
    as_json: AsJson = False,
    plot: Annotated[
        Path | None, typer.Option(help="Write the parity plot there: .png or .svg.")
    ] = None,
    adc_plot: Annotated[
        Path | None, typer.Option(help="Write the ADC models side by side: .png or .svg.")
    ] = None,
) -> None:
    """Compare the model with published chips; exit 1 if one check fails."""
    import json

    from cimsim.cli.figure_path import check_figure
    from cimsim.cost import from_scratch
    from cimsim.cost.validation import run_checks, summarise
    from cimsim.cost.validation_report import as_dict, as_lines, parity_points

    check_figure(plot, "--plot")
    check_figure(adc_plot, "--adc-plot")
    results = run_checks()
    if as_json:
        print(json.dumps({**as_dict(results), "from_scratch": from_scratch.as_dict()}, indent=2))
    else:
        print("\n".join([*as_lines(results), "", *from_scratch.as_lines()]))
    if plot is not None:
        from cimsim.cli.parity_figure import write_parity

        write_parity(plot, parity_points(results))
    if adc_plot is not None:
        from cimsim.cli.parity_figure import write_adc_models
        from cimsim.cost.adc import model_curves

        write_adc_models(adc_plot, model_curves())
    if summarise(results).failed:
        raise typer.Exit(1)
