"""Finished measurements on disk, so that a stopped study goes on where it was."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from cimsim.text_file import write_whole

__all__ = ["Cache", "name_of"]


def name_of(key: dict[str, Any]) -> str:
    """Return the name of the record that answers a question: the hash of the question."""
    text = json.dumps(key, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class Cache:
    """One JSON file a record, named by what it answers; written whole or not at all.

    Args:
        folder: where the files are.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def get(self, name: str) -> dict[str, Any] | None:
        """Return a finished measurement, or None."""
        path = self._folder / f"{name}.json"
        if not path.is_file():
            return None
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return record

    def put(self, name: str, record: dict[str, Any]) -> None:
        """Keep a measurement."""
        write_whole(self._folder / f"{name}.json", json.dumps(record).encode())
