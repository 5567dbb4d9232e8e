"""``cimsim peak``: peak figures of chips with a stated number of tiles, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli.options import AsJson, Plugins, load


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("peak")(peak)


def peak(
    files: Annotated[
        list[str], typer.Argument(help="Chip files, or names of bundled or published chips.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, e.g. chip.tiles=64.")
    ] = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Print peak TOPS, TOPS/W, TOPS/mm2, and power and area by component."""
    import json

    from cimsim.config.load import load_chip
    from cimsim.cost.peak import peak as peak_of
    from cimsim.cost.peak_report import as_dict, as_lines, find_published

    load(plugins)
    reports = []
    for name in files:
        config = load_chip(Path(find_published(name)), tuple(overrides or ()))
        reports.append(as_dict(peak_of(config)))
        if not as_json:
            print("\n".join(as_lines(reports[-1])))
    if as_json:
        print(json.dumps(reports, indent=2))
