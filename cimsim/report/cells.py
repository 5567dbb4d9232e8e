"""Numbers of rows as text: units that fit, digits that mean something."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from cimsim.errors import CimsimInternalError
from cimsim.results import Row
from cimsim.results import number_of as number

__all__ = [
    "EMPTY",
    "bits_label",
    "duration",
    "energy_unit",
    "flag",
    "number",
    "optional",
    "percent",
    "significant",
    "text",
    "time_unit",
    "whole",
]

EMPTY = "n/a"


def text(row: Row, column: str) -> str:
    """Return a text cell."""
    value = row[column]
    if not isinstance(value, str):
        message = f"column {column} is not text"
        raise CimsimInternalError(message)
    return value


def flag(row: Row, column: str) -> bool:
    """Return a flag that may not be empty."""
    value = row[column]
    if not isinstance(value, bool):
        message = f"column {column} is not a flag"
        raise CimsimInternalError(message)
    return value


def optional(row: Row, column: str) -> float | None:
    """Return a number, or None where the cell is empty."""
    value = row[column]
    if value is None:
        return None
    if isinstance(value, str):
        message = f"column {column} is not a number"
        raise CimsimInternalError(message)
    return float(value)


def significant(value: float | None, digits: int = 3) -> str:
    """Return a number with a few significant digits and thousands separators.

    Args:
        value: a finite number, or None.
        digits: significant digits; later ones become zeros.
    """
    if value is None:
        return EMPTY
    if value == 0:
        return "0"
    # Rounding may carry into a new digit: 9.996 to three digits is 10.0.
    value = float(f"{value:.{digits - 1}e}")
    size = math.floor(math.log10(abs(value)))
    if abs(value) >= 1e9 or abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - size)
    return f"{value:,.{decimals}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share in percent."""
    return EMPTY if value is None else f"{100 * value:.{digits}f}\u00a0%"


def energy_unit(values_nj: Iterable[float]) -> tuple[str, float]:
    """Return the unit in which the median of some energies reads best, and nJ in it."""
    ordered = sorted(v for v in values_nj if v > 0)
    median = ordered[len(ordered) // 2] if ordered else 1.0
    for unit, size in (("mJ", 1e6), ("µJ", 1e3), ("nJ", 1.0)):
        if median >= size:
            return unit, size
    return "pJ", 1e-3


def time_unit(values_us: Iterable[float]) -> tuple[str, float]:
    """Return the unit in which the largest of some times reads best, and microseconds in it."""
    most = max(values_us, default=0.0)
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if most >= size:
            return unit, size
    return "us", 1.0


def bits_label(bits: Sequence[int]) -> str:
    """Return the precision of a product in words: weight and input bits."""
    weight, inputs = bits
    return f"{weight}-bit weights, {inputs}-bit inputs"


def duration(seconds: float) -> str:
    """Return a time in the unit that reads best, from microseconds to years."""
    units = (("years", 31_557_600.0), ("days", 86_400.0), ("h", 3_600.0), ("min", 60.0))
    for unit, size in (*units, ("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{significant(seconds / size)} {unit}"
    return f"{significant(seconds * 1e6)} us"


def whole(value: float | None) -> str:
    """Return a count with thousands separators."""
    return EMPTY if value is None else f"{value:,.0f}"
