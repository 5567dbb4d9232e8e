"""``cimsim validate``: check chip files and print the size of the chip, without a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli.options import Plugins, load


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("validate")(validate)


def validate(
    files: Annotated[list[str], typer.Argument(help="Chip files, or names of bundled chips.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, e.g. tile.adc.bits=6.")
    ] = None,
    plugins: Plugins = None,
    model: Annotated[str, typer.Option(help="Bundled model or checkpoint folder.")] = "olmoe-tiny",
) -> None:
    """Check chip files: formats, bounds, knobs without effect, and whether the model fits."""
    from cimsim.chip import analog_units, build_system
    from cimsim.config.load import config_hash, find_chip, load_chip
    from cimsim.mac import knobs_without_effect, unpaid_writes, unused_range
    from cimsim.model import build_program
    from cimsim.stages.models import open_model

    load(plugins)
    checkpoint = open_model(model)
    program = build_program(checkpoint)
    for name in files:
        path = Path(find_chip(name))
        config = load_chip(path, tuple(overrides or ()))
        units = analog_units(program, config)
        needed = sum(u.crossbars for u in units)
        mesh = build_system(config, units)
        have = mesh.n_tiles * mesh.crossbars_per_tile
        chips = f" on each of {mesh.chips} chips" if mesh.chips > 1 else ""
        print(
            f"{path}: ok, chip {config_hash(config)[:12]}, {mesh.n_tiles} tiles on "
            f"{mesh.width}x{mesh.height} routers{chips}, {needed} of {have} "
            f"crossbars for {program.name}"
        )
        warnings = (
            *checkpoint.warnings,
            *knobs_without_effect(config),
            *unpaid_writes(config),
            *unused_range(config),
        )
        for warning in warnings:
            print(f"  warning: {warning}")
