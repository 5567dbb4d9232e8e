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
    density: Annotated[
        str | None,
        typer.Option(
            metavar="INPUT[,LEVEL]",
            help="Mean input and mean cell over their greatest that energy is charged at.",
        ),
    ] = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Print peak TOPS, TOPS/W, TOPS/mm2, and power and area by component."""
    import json

    from cimsim.api.peak import peak as peaks_of
    from cimsim.cost.peak_report import as_lines

    load(plugins)
    reports = peaks_of(files, overrides=[*(overrides or ()), *_densities(density)]).reports
    if as_json:
        print(json.dumps(reports, indent=2))
    else:
        print("\n".join(line for report in reports for line in as_lines(report)))


def _densities(text: str | None) -> list[str]:
    """Return the knobs that a density on the command line sets."""
    from cimsim.errors import CimsimError

    if text is None:
        return []
    parts, names = text.split(","), ("input_bit_density", "mean_level_fraction")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= len(names) or not all(0 <= number <= 1 for number in numbers):
        raise CimsimError(
            "must be one or two shares",
            key="--density",
            value=text,
            allowed="INPUT or INPUT,LEVEL, each from 0 to 1",
        )
    return [f"cost.{name}={number!r}" for name, number in zip(names, numbers, strict=False)]
