"""Knobs that a call sets: a mapping of dotted paths, or the strings of ``--set``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from cimsim.errors import CimsimError

__all__ = ["Overrides", "set_texts"]

Overrides = Mapping[str, object] | Iterable[str]
"""Values by dotted path, ``{"tile.adc.bits": 7}``, or strings ``"tile.adc.bits=7"``."""


def set_texts(overrides: Overrides | None) -> tuple[str, ...]:
    """Return overrides as ``KEY=VALUE`` strings, as the command line has them.

    Args:
        overrides: values by dotted path: numbers, strings, booleans, None, lists and mappings of
            them; or such strings.

    Raises:
        CimsimError: if a value is none of those.
    """
    if overrides is None:
        return ()
    if isinstance(overrides, Mapping):
        return tuple(f"{key}={_text(key, value)}" for key, value in overrides.items())
    if isinstance(overrides, str):
        raise CimsimError(
            "is one string",
            key="overrides",
            value=overrides,
            allowed='a mapping such as {"tile.adc.bits": 7}, or a list of KEY=VALUE strings',
        )
    return tuple(overrides)


def _text(key: str, value: object) -> str:
    if isinstance(value, str | Path):
        return str(value)
    try:
        return json.dumps(value, default=_plain)
    except (TypeError, ValueError) as error:
        raise CimsimError(
            "is no value of a knob",
            key=key,
            value=value,
            allowed="numbers, strings, booleans, None, and lists and mappings of them",
        ) from error


def _plain(value: object) -> object:
    """Return the plain number of a NumPy scalar, the list of an array."""
    plain = getattr(value, "tolist", None)
    if plain is None:
        raise TypeError
    found: object = plain()
    return found
