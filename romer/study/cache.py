"""Finished measurements on disk, so that a stopped study goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

__all__ = ["Cache"]


class Cache:
    """JSON files named by the hash of what they answer.

    Args:
        folder: where the files are.
        context: what every question has in common, e.g. the plan and the models' hashes.
    """

    def __init__(self, folder: Path, context: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._context = folder, context

    def get(self, key: dict[str, Any]) -> dict[str, Any] | None:
        """Return a finished measurement, or None."""
        path = self._path(key)
        if not path.is_file():
            return None
        row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["row"]
        return row

    def put(self, key: dict[str, Any], row: dict[str, Any]) -> None:
        """Keep a measurement, whole or not at all."""
        path = self._path(key)
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"key": key, "row": row}, indent=1), encoding="utf-8")
        os.replace(part, path)  # noqa: PTH105 - atomic

    def _path(self, key: dict[str, Any]) -> Path:
        text = json.dumps({**self._context, **key}, sort_keys=True)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
