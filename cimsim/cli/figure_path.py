"""Where a figure may be written, checked before anything is computed."""

from __future__ import annotations

from pathlib import Path

from cimsim.errors import CimsimError

__all__ = ["check_figure"]


def check_figure(path: Path | None, option: str) -> None:
    """Refuse a figure of another kind.

    Args:
        path: file of the figure, or None if none is wanted.
        option: of the command line that names it.

    Raises:
        CimsimError: if the name ends in neither .png nor .svg.
    """
    if path is not None and path.suffix.lower() not in {".png", ".svg"}:
        raise CimsimError(
            "a figure is written as PNG or SVG",
            key=option,
            value=str(path),
            allowed="a name that ends in .png or .svg",
        )
