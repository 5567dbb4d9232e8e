"""``cimsim migrate``: rewrite chip files of an older format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("migrate")(migrate)


def migrate(
    files: Annotated[list[Path], typer.Argument(help="Chip files; rewritten in place.")],
    dry_run: Annotated[bool, typer.Option(help="Print what would change, change nothing.")] = False,
) -> None:
    """Write today's names into chip files of an older format; comments and layout stay."""
    from cimsim.config.migration import migrate_text
    from cimsim.text_file import read_text_file, write_whole

    # All files are read before one is written: a bad one changes nothing.
    done = [(path, *migrate_text(read_text_file(path, "chip file"), str(path))) for path in files]
    for path, text, changes in done:
        if changes and not dry_run:
            write_whole(path, text.encode())
        print(f"{path}: {len(changes) or 'no'} change{'' if len(changes) == 1 else 's'}")
        for change in changes:
            print(f"  {change}")
