"""``cimsim peak``: peak figures of chips with a stated number of tiles, without a model."""

from __future__ import annotations

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

    from cimsim.api.peak import peak as peaks_of
    from cimsim.cost.peak_report import as_lines

    load(plugins)
    reports = peaks_of(files, overrides=overrides).reports
    if as_json:
        print(json.dumps(reports, indent=2))
    else:
        print("\n".join(line for report in reports for line in as_lines(report)))
