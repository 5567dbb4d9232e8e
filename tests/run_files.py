"""The files of a run that must have the same bytes whenever and wherever it is carried out."""

from __future__ import annotations

from pathlib import Path

__all__ = ["files_of"]

APART = {"manifest.json"}  # times and paths


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a run by its path, but of those of times and paths."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in APART
    }
