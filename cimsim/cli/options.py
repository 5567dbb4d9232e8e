"""Options that several commands have, each with the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "AsJson",
    "Cluster",
    "Device",
    "Model",
    "NoCache",
    "Overrides",
    "Phase",
    "Plugins",
    "Shape",
    "folder_of",
    "load",
]

AsJson = Annotated[bool, typer.Option("--json", help="Only JSON on stdout.")]

Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Compute on a Dask cluster: local:N, or a scheduler such as tcp://host:8786.",
    ),
]

Device = Annotated[
    str | None,
    typer.Option(
        help="Where torch computes (run.device of every chip): cuda, cuda:N, or several with "
        "commas, which share out the chip seeds."
    ),
]

Model = Annotated[str, typer.Option(help="Bundled model or checkpoint folder.")]

NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        envvar="CIMSIM_NO_CACHE",
        help="Compute every stage, also those that an earlier run kept (cimsim cache).",
    ),
]

Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a knob.")
]

Phase = Annotated[str, typer.Option(help="decode or prefill.")]

Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        help="Python file that registers a topology, device, policy, calibration step or model "
        "family; may repeat.",
    ),
]

Shape = Annotated[
    str | None,
    typer.Option(help="Full-size shape instead of a model: mixtral-8x7b, or a file."),
]


def folder_of(no_cache: bool) -> Path | None:
    """Return the folder of the stage cache; None without one, or where none can be written."""
    from cimsim.cache.store import cache_folder, why_unusable

    if no_cache:
        return None
    folder = cache_folder()
    if (reason := why_unusable(folder)) is not None:
        typer.echo(f"no stage cache: {reason}", err=True)
        return None
    return folder


def load(plugins: list[Path] | None) -> tuple[Path, ...]:
    """Load the plug-ins of a command line and return their files."""
    from cimsim.plugins import load_plugins

    return tuple(plugin.path for plugin in load_plugins(plugins or ()))
