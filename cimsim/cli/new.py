"""``cimsim new``: write a commented chip file of a kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("new")(new)


def new(
    kind: Annotated[str, typer.Argument(help="eflash, reram, pcm, sram_analog or sram_digital.")],
    file: Annotated[Path | None, typer.Argument(help="What to write; KIND.yaml.")] = None,
) -> None:
    """Write a chip file of a kind, with comments, the fields that matter first."""
    from cimsim.config.bundled import template
    from cimsim.errors import CimsimError
    from cimsim.printable import printable
    from cimsim.text_file import write_whole

    path = Path(f"{kind}.yaml") if file is None else file
    text = template(kind, printable(path.stem))
    if path.exists() or path.is_symlink():
        raise CimsimError("exists already", file=path, hint="give another name")
    write_whole(path, text.encode())
    print(f"{path}: written; `cimsim validate {path}` checks it")
