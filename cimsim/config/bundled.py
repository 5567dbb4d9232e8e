"""Chips that come with the package, by name."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

from cimsim.errors import CimsimError, nearest
from cimsim.text_file import is_file

__all__ = [
    "KINDS",
    "bundled_chips",
    "bundled_files",
    "bundled_folder",
    "find_chip",
    "find_parent",
    "find_published",
    "template",
]

KINDS = ("eflash", "reram", "pcm", "sram_analog", "sram_digital")
"""Kinds of chips of which `cimsim new` writes a file."""


def bundled_folder() -> Path:
    """Return the folder of the bundled chips: of the wheel, or of a source tree."""
    packaged = Path(str(files("cimsim"))) / "_arch_configs"
    return packaged if packaged.is_dir() else Path(str(files("cimsim"))).parent / "arch_configs"


def bundled_files(folder: str) -> dict[str, Path]:
    """Return the YAML files of a folder of the bundled ones by name."""
    return {p.stem: p for p in sorted((bundled_folder() / folder).glob("*.yaml"))}


def bundled_chips() -> dict[str, Path]:
    """Return the bundled runnable chips by name."""
    return bundled_files(".")


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


def find_published(name: str | Path) -> Path:
    """Return a chip's file: a path, a bundled chip, or a chip of the published folder.

    Raises:
        CimsimError: if it is none of them.
    """
    published = bundled_folder() / "published" / f"{name}.yaml"
    return published if is_file(published) else find_chip(name)


def find_parent(name: str) -> Path:
    """Return the file that `extends` names: a chip as `find_published` finds it, or a fragment.

    Raises:
        CimsimError: if it is neither.
    """
    fragment = bundled_folder() / "technology" / f"{name}.yaml"
    return fragment if is_file(fragment) else find_published(name)


def template(kind: str, name: str) -> str:
    """Return the text of a new chip file of a kind, with comments.

    Args:
        kind: one of `KINDS`.
        name: of the chip.

    Raises:
        CimsimError: if there is no such kind.
    """
    if kind not in KINDS:
        raise CimsimError(
            "there is no such kind of chip",
            value=kind,
            allowed=", ".join(KINDS),
            hint=nearest(kind, KINDS),
        )
    text = (bundled_folder() / "templates" / f"{kind}.yaml").read_text(encoding="utf-8")
    plain = re.fullmatch(r"[A-Za-z]\w*_\w+|[a-z]\w{5,}", name)  # never a number or null
    return text.replace(f"\nname: {kind}\n", f"\nname: {name if plain else json.dumps(name)}\n")
