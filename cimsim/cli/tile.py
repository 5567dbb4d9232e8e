"""``cimsim tile``: one page on a tile: its error by source, the ADC it wants, its cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli.options import AsJson, Plugins, load


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("tile")(tile)


def tile(
    file: Annotated[str, typer.Argument(help="Chip file, or name of a bundled chip.")],
    matrix: Annotated[
        str, typer.Option(help="gaussian, or a .npy file of weights [n_in, n_out].")
    ] = "gaussian",
    rows: Annotated[
        int | None, typer.Option(min=1, help="Inputs of a drawn matrix; a crossbar's rows.")
    ] = None,
    cols: Annotated[
        int | None, typer.Option(min=1, help="Outputs of a drawn matrix; 64 if not given.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, max=4096, help="Input vectors.")] = 64,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, e.g. tile.adc.bits=7.")
    ] = None,
    plugins: Plugins = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Seed of the chip and of all draws.")
    ] = 0,
    as_json: AsJson = False,
    figure: Annotated[Path | None, typer.Option(help="Write a figure there: .png or .svg.")] = None,
) -> None:
    """Study one tile: error by source, clip rate, the best ADC range and bits, energy, time."""
    import json

    from cimsim.api.tile import tile as study
    from cimsim.cli.figure_path import check_figure
    from cimsim.stages.tile_page import write_figure
    from cimsim.stages.tile_text import as_lines

    load(plugins)
    check_figure(figure, "--figure")
    found = study(
        file, matrix=matrix, rows=rows, cols=cols, tokens=tokens, seed=seed, overrides=overrides
    )
    write_figure(found.page, figure)
    print(json.dumps(found.as_dict(), indent=2) if as_json else "\n".join(as_lines(found.page)))
