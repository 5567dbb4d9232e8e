"""Columns and tables: what a number in a CSV file is, and the check that it is one.

A column is a value with a name, a unit, a type and a meaning. Tables refuse rows that
lack a column, have one too many, or hold something that is not a finite number where a
number is promised: a wrong table is our bug and never reaches a file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from cimsim.errors import CimsimInternalError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EMPTY_BECAUSE", "Better", "Cell", "Column", "Row", "Table"]

Cell = str | int | float | bool | None
Row = dict[str, Cell]
ColumnType = Literal["text", "integer", "number", "flag"]
Better = Literal["higher", "lower", ""]

# The column that gives the reason of every empty cell of its row.
EMPTY_BECAUSE = "empty_because"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: exact name in the CSV file; a physical quantity ends in its unit.
        unit: unit of the value, "1" for a pure number, "" for text.
        type: text, integer, number or flag (true or false).
        meaning: what it is, in one or two sentences.
        formula: how it follows from other columns, "" if it is measured.
        group: heading under which the glossary lists it.
        empty_when: when a cell may be empty; "" means never.
        better: higher, lower or "" where neither is better.
        minimum: least plausible value.
        maximum: greatest plausible value.
    """

    name: str
    unit: str
    type: ColumnType
    meaning: str
    formula: str = ""
    group: str = ""
    empty_when: str = ""
    better: Better = ""
    minimum: float | None = None
    maximum: float | None = None

    def check(self, value: object) -> Cell:
        """Return the value as a plain Python object of this column's type.

        Args:
            value: a cell; NumPy scalars are converted, line breaks in text become blanks.

        Raises:
            CimsimInternalError: if it is not of the type, not finite, out of the plausible
                range, or empty where it may not be.
        """
        if value is None:
            if not self.empty_when:
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


@dataclass(frozen=True)
class Table:
    """A tidy table: one row an observation, one column a variable.

    Attributes:
        name: file name without ``.csv``.
        meaning: what a row is.
        columns: in file order.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """Columns by name."""
        return {c.name: c for c in self.columns}

    @property
    def gives_reasons(self) -> bool:
        """Whether rows say in words why a cell is empty."""
        return EMPTY_BECAUSE in self.by_name

    def row(self, cells: Mapping[str, object], reasons: Mapping[str, str] | None = None) -> Row:
        """Check one row and put it into column order.

        Args:
            cells: a value a column; ``empty_because`` is written by this method.
            reasons: for every empty cell its column and why it is empty (only in tables
                that have the column ``empty_because``).

        Raises:
            CimsimInternalError: if a column is missing, unknown, of the wrong type or
                range, or empty without a reason.
        """
        given = dict(reasons or {})
        expected = [c.name for c in self.columns if c.name != EMPTY_BECAUSE]
        missing = [n for n in expected if n not in cells]
        extra = [n for n in cells if n not in expected]
        if missing or extra:
            message = f"row of {self.name}.csv: missing {missing}, unknown {extra}"
            raise CimsimInternalError(message)
        row: Row = {n: self.by_name[n].check(cells[n]) for n in expected}
        if not self.gives_reasons:
            if given:
                message = f"{self.name}.csv has no column {EMPTY_BECAUSE}"
                raise CimsimInternalError(message)
            return row
        empty = [n for n in expected if row[n] is None]
        if sorted(empty) != sorted(given) or not all(given.values()):
            message = (
                f"row of {self.name}.csv: empty cells {empty} need exactly one reason each, "
                f"reasons given for {sorted(given)}"
            )
            raise CimsimInternalError(message)
        row[EMPTY_BECAUSE] = "; ".join(f"{n}: {given[n]}" for n in empty)
        return row

    def frame(self, rows: Iterable[Row]) -> pd.DataFrame:
        """Return checked rows as a data frame with typed columns."""
        import pandas as pd  # noqa: PLC0415 - 30 MB in every process of a run, which needs none

        listed = list(rows)
        dtypes = {"text": "object", "integer": "Int64", "number": "float64", "flag": "boolean"}
        data = {
            c.name: pd.Series([r[c.name] for r in listed], dtype=dtypes[c.type])
            for c in self.columns
        }
        return pd.DataFrame(data, columns=[c.name for c in self.columns])
