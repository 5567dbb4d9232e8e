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
    shape: Annotated[
        str | None,
        typer.Option(
            help="Workload timed and charged beside the peak, on the chip fitted to it: "
            "resnet20-cifar10, or a file."
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, max=4096, help="Tokens of the workload at once (default 1)."),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=V,V,...", help="A line for every value, e.g. technology.vdd_v=0.7,0.9."
        ),
    ] = None,
    plugins: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Print peak TOPS, TOPS/W, TOPS/mm2, and power and area by component."""
    import json

    from cimsim.api.peak import peak as peaks_of
    from cimsim.api.peak import peak_sweep
    from cimsim.cli.workload_lines import sweep_lines, workload_lines
    from cimsim.cost.peak_report import as_lines
    from cimsim.errors import CimsimError

    load(plugins)
    if batch is not None and shape is None:
        raise CimsimError(
            "has no effect without a workload", key="--batch", value=batch, hint="--shape names one"
        )
    at_once = batch or 1
    knobs = [*(overrides or ()), *_densities(density)]
    if sweep is None:
        reports = peaks_of(files, overrides=knobs, shape=shape, batch=at_once).reports
        lines = [line for r in reports for line in (*as_lines(r), *workload_lines(r))]
    else:
        knob, values = _axis(sweep)
        found = peak_sweep(files, knob, values, overrides=knobs, shape=shape, batch=at_once)
        reports, lines = found.reports, sweep_lines(found.reports)
    print(json.dumps(reports, indent=2) if as_json else "\n".join(lines))


def _axis(text: str) -> tuple[str, list[str]]:
    """Return knob and values of a sweep on the command line."""
    from cimsim.errors import CimsimError

    knob, _, values = text.partition("=")
    found = [v.strip() for v in values.split(",")]
    if not knob.strip() or not all(found):
        raise CimsimError(
            "must read KEY=VALUE,VALUE,...",
            key="--sweep",
            value=text,
            allowed="e.g. technology.vdd_v=0.7,0.8,0.9",
        )
    return knob.strip(), found


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
