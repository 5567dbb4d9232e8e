"""Columns: what a number in a CSV file is, where it comes from, and its check.

A column is declared once: name, unit, type, meaning, how its value follows from what was
measured, and the reasons for which a cell may be empty. Files, reports, glossaries and
`cimsim explain` read that declaration.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from cimsim.errors import CimsimInternalError

__all__ = [
    "EMPTY_BECAUSE",
    "Cell",
    "Column",
    "Empty",
    "Row",
    "count",
    "flag",
    "number",
    "number_of",
    "reasons_column",
    "text",
]

Cell = str | int | float | bool | None
Row = dict[str, Cell]
Better = Literal["higher", "lower", ""]
S = TypeVar("S")
"""What a row is measured on: a chip with its model, a layer, a phase, ..."""

# The column that gives the reason of every empty cell of its row.
EMPTY_BECAUSE = "empty_because"


class Empty(str):
    """Why a cell is empty, in a few words; a column's value is one where there is none."""

    __slots__ = ()


@dataclass(frozen=True)
class Column(Generic[S]):
    """One column of a table.

    Attributes:
        name: exact name in the CSV file; a physical quantity ends in its unit.
        unit: unit of the value, "1" for a pure number, "" for text.
        type: text, integer, number or flag (true or false).
        meaning: what it is, in one or two sentences.
        value: the cell of what was measured: a value; an `Empty` that says why there is none;
            or None, where only one reason is possible. Without it rows come as mappings.
        empty: every reason for which a cell may be empty; none means never.
        formula: how it follows from other columns, "" if it is measured.
        better: higher, lower or "" where neither is better.
        minimum: least plausible value.
        maximum: greatest plausible value.
    """

    name: str
    unit: str
    type: Literal["text", "integer", "number", "flag"]
    meaning: str
    value: Callable[[S], object] | None = None
    empty: tuple[Empty, ...] = ()
    formula: str = ""
    better: Better = ""
    minimum: float | None = None
    maximum: float | None = None

    @property
    def empty_when(self) -> str:
        """When a cell may be empty, in words; "" means never."""
        return ", or ".join(self.empty)

    def measure(self, subject: S) -> object:
        """Return the value of what was measured, or an `Empty` with the reason.

        Raises:
            CimsimInternalError: if it is empty for a reason that is not declared.
        """
        found = subject[self.name] if self.value is None else self.value(subject)  # type: ignore[index]
        if found is None and len(self.empty) == 1:
            return self.empty[0]
        if found is None or (isinstance(found, Empty) and found not in self.empty):
            raise self._wrong(found, "may not be empty for this reason")
        return found

    def explained(self, table: str) -> str:
        """Return what the column is, as a few lines of text.

        Args:
            table: name of its table.
        """
        units = {"": "text" if self.type == "text" else self.type, "1": "pure number"}
        low = "-inf" if self.minimum is None else f"{self.minimum:g}"
        high = "inf" if self.maximum is None else f"{self.maximum:g}"
        bounded = self.minimum is not None or self.maximum is not None
        facts = {
            "unit": units.get(self.unit, self.unit),
            "formula": self.formula,
            "better": self.better,
            "range": f"{low} to {high}" if bounded else "",
            "empty when": self.empty_when,
        }
        said = [f"  {name}: {fact}" for name, fact in facts.items() if fact]
        return "\n".join([f"{self.name}  (column of {table}.csv)", f"  {self.meaning}", *said])

    def check(self, value: object) -> Cell:
        """Return the value as a plain Python object of this column's type.

        Args:
            value: a cell; NumPy scalars are converted, line breaks in text become blanks.

        Raises:
            CimsimInternalError: if it is not of the type, not finite, out of the plausible
                range, or empty where it may not be.
        """
        if value is None:
            if not self.empty:
                raise self._wrong(value, "may not be empty")
            return None
        if isinstance(value, np.generic):
            value = value.item()
        if self.type == "text":
            if not isinstance(value, str):
                raise self._wrong(value, "must be text")
            return _one_line(value)
        if self.type == "flag":
            if not isinstance(value, bool):
                raise self._wrong(value, "must be true or false")
            return value
        return self._check_number(value)

    def _check_number(self, value: object) -> int | float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(value, "must be a number")
        if not math.isfinite(value):
            raise self._wrong(value, "must be finite")
        if self.minimum is not None and value < self.minimum:
            raise self._wrong(value, f"must be at least {self.minimum:g}")
        if self.maximum is not None and value > self.maximum:
            raise self._wrong(value, f"must be at most {self.maximum:g}")
        if self.type == "integer":
            if not isinstance(value, int):
                raise self._wrong(value, "must be a whole number")
            return value
        return float(value)

    def _wrong(self, value: object, problem: str) -> CimsimInternalError:
        return CimsimInternalError(f"column {self.name}: {problem} (found {value!r})")


def _one_line(text: str) -> str:
    """Return text fit for a cell: one line, no control characters, valid UTF-8."""
    valid = text.encode("utf-8", "replace").decode("utf-8")
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", valid).strip()


def number_of(row: Row, column: str) -> float:
    """Return a number of a row that may not be empty."""
    value = row[column]
    if not isinstance(value, int | float):
        message = f"column {column} is not a number"
        raise CimsimInternalError(message)
    return float(value)


def text(
    name: str, meaning: str, value: Callable[[S], object] | None = None, *empty: Empty
) -> Column[S]:
    """Declare a column of text."""
    return Column(name, "", "text", meaning, value, empty)


def flag(name: str, meaning: str, value: Callable[[S], object] | None = None) -> Column[S]:
    """Declare a column of true and false."""
    return Column(name, "", "flag", meaning, value)


def count(
    name: str, unit: str, meaning: str, value: Callable[[S], object] | None = None, *empty: Empty
) -> Column[S]:
    """Declare a column of whole numbers from 0."""
    return Column(name, unit, "integer", meaning, value, empty, minimum=0)


def number(
    name: str,
    unit: str,
    meaning: str,
    value: Callable[[S], object] | None = None,
    *empty: Empty,
    formula: str = "",
    better: Better = "",
    minimum: float | None = 0.0,
    maximum: float | None = None,
) -> Column[S]:
    """Declare a column of numbers, from 0 unless another minimum is given."""
    return Column(name, unit, "number", meaning, value, empty, formula, better, minimum, maximum)


def reasons_column() -> Column[Any]:
    """Declare the column of reasons, which a table fills in by itself."""
    return text(EMPTY_BECAUSE, "For every empty cell of the row its column and the reason.")
