"""Where a figure or a table may be written, checked before anything is computed."""

from __future__ import annotations

import os
from pathlib import Path

from cimsim.errors import CimsimError
from cimsim.text_file import is_folder, is_stream

__all__ = ["check_figure", "check_place"]


def check_figure(path: Path | None, option: str) -> None:
    """Refuse a figure of another kind.

    Args:
        path: file of the figure, or None if none is wanted.
        option: of the command line that names it.

    Raises:
        CimsimError: if the name ends in neither .png nor .svg, or cannot be written.
    """
    if path is not None and path.suffix.lower() not in {".png", ".svg"}:
        raise CimsimError(
            "a figure is written as PNG or SVG",
            key=option,
            value=str(path),
            allowed="a name that ends in .png or .svg",
        )
    check_place(path, option)


def check_place(path: Path | None, option: str) -> None:
    """Refuse a file that cannot be written.

    Args:
        path: the file, or None if none is wanted.
        option: of the command line that names it.

    Raises:
        CimsimError: if it is a folder, or the folder that it goes to is missing or read-only.
    """
    if path is None:
        return
    if is_folder(path):
        raise CimsimError("is a folder, not a file", file=path, key=option)
    place, need = (path, os.W_OK) if is_stream(path) else (path.parent, os.W_OK | os.X_OK)
    if not (is_stream(path) or is_folder(place)) or not os.access(place, need):
        raise CimsimError(
            "cannot be written", file=path, key=option, allowed="a file in a folder that is there"
        )
