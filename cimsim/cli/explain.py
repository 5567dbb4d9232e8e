"""``cimsim explain``: what a knob, a result column, a component or a constant is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cimsim.cli.options import Plugins, load


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("explain")(explain)


def explain(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="e.g. tile.adc.bits, tile.adc, energy_per_token_nj, adc, perplexity.",
        ),
    ] = None,
    find: Annotated[
        str | None, typer.Option("--search", help="List the names that speak of these words.")
    ] = None,
    chip: Annotated[str, typer.Option(help="Chip whose values are shown.")] = "isaac",
    plugins: Plugins = None,
) -> None:
    """Print meaning, unit, formula, value, source and confidence of a name."""
    from cimsim.config.bundled import find_published
    from cimsim.config.load import load_chip
    from cimsim.errors import CimsimError
    from cimsim.stages import explain as known

    load(plugins)
    if bool(words) == (find is not None):
        raise CimsimError("takes a name, or --search and words", key="explain")
    if find is not None:
        lines = [entry.brief for entry in known.search(find)]
    else:
        lines = known.explain(" ".join(words or ()), load_chip(Path(find_published(chip))))
    print("\n".join(_narrow("\n".join(lines))))


def _narrow(text: str) -> list[str]:
    """Return lines of at most 80 columns, the rest of a long one indented."""
    from textwrap import wrap

    found: list[str] = []
    for line in text.splitlines():
        found += wrap(
            line, 80, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        )
    return found
