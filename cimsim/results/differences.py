"""Where the plan of what a folder holds differs from what is asked for."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["differences", "first_of"]

SHOWN = 3


def differences(known: Any, now: Any, path: str = "") -> list[str]:
    """Return where two plans differ, a phrase each.

    Args:
        known: the plan of what is there, of plain JSON values.
        now: the plan of what is asked for.
        path: dotted path of both in their plans.
    """
    if isinstance(known, dict) and isinstance(now, dict):
        keys = dict.fromkeys((*known, *now))
        return [
            found
            for key in keys
            for found in differences(
                known.get(key), now.get(key), f"{path}.{key}" if path else str(key)
            )
        ]
    if known == now:
        return []
    return [f"{path} was {_short(known)} and is {_short(now)}"]


def first_of(phrases: list[str]) -> str:
    """Return the first differences as part of a sentence, and how many more there are."""
    more = len(phrases) - SHOWN
    return "; ".join(phrases[:SHOWN]) + f"; {more} more" * (more > 0)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
