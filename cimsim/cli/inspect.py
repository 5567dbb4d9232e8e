"""``cimsim inspect``: what of a model is hard for crossbars, layer by layer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli.options import AsJson, Model, Plugins, load


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("inspect")(inspect)


def inspect(
    model: Model,
    text: Annotated[
        Path | None, typer.Option(help="UTF-8 text instead of the bundled one.")
    ] = None,
    bos: Annotated[
        str, typer.Option(help="Whether windows begin with a BOS token: auto, always or never.")
    ] = "auto",
    tokens: Annotated[int, typer.Option(min=2, help="Tokens looked at.")] = 1024,
    context: Annotated[int, typer.Option(min=2, help="Tokens per window.")] = 256,
    calibration_tokens: Annotated[
        int, typer.Option(min=2, help="Tokens of calibration text, for static scales.")
    ] = 4096,
    plugins: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show weights' spread, outlier channels, sink tokens, clipping and scarce experts."""
    from cimsim.cli.rows_text import print_rows
    from cimsim.config import Workload
    from cimsim.stages.inspecting import inspect_model
    from cimsim.stages.models import calibration_windows, open_model, read_text, scored_windows

    load(plugins)
    texts = read_text(text, bos)
    checkpoint = open_model(model, texts.bos)
    scored = scored_windows(checkpoint, texts, Workload(tokens=tokens, context=context))
    calibration = calibration_windows(checkpoint, texts, calibration_tokens, context)
    rows = [asdict(row) for row in inspect_model(checkpoint, calibration, scored)]
    if not as_json:
        rows = [
            {_SHORT.get(key, key): value for key, value in row.items() if key != "scarce"}
            | {"scarce": len(row["scarce"])}
            for row in rows
        ]
    print_rows(rows, as_json=as_json)


_SHORT = {
    "matrices": "n",
    "weight_max_over_rms": "w max/rms",
    "input_max_over_rms": "x max/rms",
    "outlier_channels": "outliers",
    "sink_tokens": "sinks",
    "clip_rate": "clip",
    "clip_rate_first": "clip first",
    "fewest_tokens": "fewest",
}
