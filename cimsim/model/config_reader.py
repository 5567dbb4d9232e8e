"""Typed reading of a checkpoint's ``config.json``, with errors that name file and key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cimsim.errors import CimsimError
from cimsim.text_file import read_text_file

__all__ = ["ConfigReader", "read_json"]

MAX_SIZE = 2**24  # no dimension of a decoder is larger
MAX_LAYERS = 4096
_ABSENT = object()


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        CimsimError: if the file cannot be read as text, or is not one JSON object.
    """
    text = read_text_file(path, "JSON file")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise CimsimError("the file is not valid JSON", file=path, line=line) from error
    if not isinstance(data, dict):
        raise CimsimError("the file must hold one JSON object", file=path)
    return data


class ConfigReader:
    """The keys of a ``config.json``, read once each with their type and range.

    Args:
        path: the file, named in errors.
        values: its content, or an object in it.
        within: the key of that object and a dot.
    """

    def __init__(self, path: Path, values: dict[str, Any], within: str = "") -> None:
        self.path = path
        self.values = values
        self._within = within

    def error(self, key: str, message: str, allowed: str | None = None) -> CimsimError:
        """Return an error about one key."""
        return CimsimError(
            message,
            file=self.path,
            key=f"{self._within}{key}",
            value=self.values.get(key),
            allowed=allowed,
        )

    def get(self, key: str, default: Any = None) -> Any:
        """Return a raw value; null counts as absent."""
        value = self.values.get(key)
        return default if value is None else value

    def integer(
        self, key: str, default: object = _ABSENT, *, least: int = 1, most: int = MAX_SIZE
    ) -> int:
        """Return a whole number from `least` to `most`."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.error(key, "not a usable whole number", f"{least} to {most}")
        return value

    def layers(self) -> int:
        """Return the number of decoder layers."""
        return self.integer("num_hidden_layers", most=MAX_LAYERS)

    def number(self, key: str, default: object = _ABSENT) -> float:
        """Return a positive finite number."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, "not a number", "a positive number")
        if not 0 < value < 1e30:
            raise self.error(key, "out of range", "a positive number")
        return float(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a truth value."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "not a truth value", "true or false")
        return value

    def indices(self, key: str) -> tuple[int, ...]:
        """Return a list of layer numbers, empty if absent."""
        value = self.get(key, [])
        whole = isinstance(value, list) and all(
            isinstance(v, int) and not isinstance(v, bool) for v in value
        )
        if not whole:
            raise self.error(key, "not a list of layer numbers", "e.g. [0, 1]")
        return tuple(value)

    def only(self, key: str, allowed: tuple[object, ...] = ()) -> None:
        """Refuse a feature that the decoder does not implement.

        A key that is absent or null passes.
        """
        value = self.get(key)
        if value is not None and value not in allowed:
            choices = ", ".join(json.dumps(a) for a in (*allowed, None))
            raise self.error(key, "this feature is not implemented", choices)

    def _value(self, key: str, default: object) -> object:
        value = self.get(key, default)
        if value is _ABSENT:
            key = f"{self._within}{key}"
            raise CimsimError("the configuration lacks a key", file=self.path, key=key)
        return value
