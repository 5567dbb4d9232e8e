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
    key: Annotated[str, typer.Argument(help="e.g. tile.adc.bits, energy_per_token_nj, adc.")],
    chip: Annotated[str, typer.Option(help="Chip whose values are shown.")] = "isaac",
    plugins: Plugins = None,
) -> None:
    """Print meaning, unit, formula, value, source and confidence of a key."""
    from cimsim.config.knobs import find_knobs
    from cimsim.config.load import load_chip
    from cimsim.cost.explain import explainable, lines_for
    from cimsim.cost.peak_report import find_published
    from cimsim.errors import CimsimError, nearest
    from cimsim.stages.columns.registry import column_names, find_columns

    load(plugins)
    lines = lines_for(key, load_chip(Path(find_published(chip))))
    is_knob = any(knob.path == key for knob in find_knobs())
    if not is_knob and key.split(".")[-1] in column_names():
        lines += [column.explained(table.name) for table, column in find_columns(key)]
    if not lines:
        known = (*explainable(), *column_names())
        raise CimsimError(
            "nothing has this name",
            key=key,
            allowed="a knob of a chip file, a result column, a component or a constant",
            hint=nearest(key, known),
        )
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
