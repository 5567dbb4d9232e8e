"""Chips that come with the package, by name."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from cimsim.errors import CimsimError, nearest
from cimsim.text_file import is_file

__all__ = ["bundled_chips", "bundled_folder", "find_chip"]


def bundled_folder() -> Path:
    """Return the folder of the bundled chips: of the wheel, or of a source tree."""
    packaged = Path(str(files("cimsim"))) / "_arch_configs"
    return packaged if packaged.is_dir() else Path(str(files("cimsim"))).parent / "arch_configs"


def bundled_chips() -> dict[str, Path]:
    """Return the bundled runnable chips by name."""
    return {p.stem: p for p in sorted(bundled_folder().glob("*.yaml"))}


def find_chip(name: str | Path) -> Path:
    """Return the file of a chip: an existing path, or the name of a bundled chip.

    Raises:
        CimsimError: if it is neither.
    """
    path = Path(name)
    if is_file(path):
        return path
    chips = bundled_chips()
    if str(name) in chips:
        return chips[str(name)]
    hint = nearest(path.stem, chips)
    raise CimsimError(
        "no such file, and no bundled chip of that name",
        file=name,
        allowed=f"a YAML file, or one of {', '.join(chips)}",
        hint=hint,
    )
