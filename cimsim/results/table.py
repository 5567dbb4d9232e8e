"""Tables: rows that may be written, as CSV or as a data frame.

A table refuses rows that lack a column, have one too many, or hold something that is not a
finite number where a number is promised: a wrong table is our bug and never reaches a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Generic

from cimsim.errors import CimsimInternalError
from cimsim.results.column import EMPTY_BECAUSE, Column, Empty, Row, S

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Table"]


@dataclass(frozen=True)
class Table(Generic[S]):
    """A tidy table: one row an observation, one column a variable.

    Attributes:
        name: file name without ``.csv``.
        meaning: what a row is.
        columns: in file order.
        check: refuses a row whose columns contradict each other.
    """

    name: str
    meaning: str
    columns: tuple[Column[S], ...]
    check: Callable[[Row], None] | None = None

    @cached_property
    def by_name(self) -> dict[str, Column[S]]:
        """Columns by name."""
        return {c.name: c for c in self.columns}

    @property
    def gives_reasons(self) -> bool:
        """Whether rows say in words why a cell is empty."""
        return EMPTY_BECAUSE in self.by_name

    def measure(self, subject: S) -> Row:
        """Return the checked row of what was measured: a value of every column, or its reason.

        Raises:
            CimsimInternalError: if a value is not what its column promises.
        """
        cells: dict[str, object] = {}
        reasons: dict[str, str] = {}
        for column in self.columns:
            if column.name == EMPTY_BECAUSE:
                continue
            found = column.measure(subject)
            if isinstance(found, Empty):
                reasons[column.name] = found
            cells[column.name] = None if isinstance(found, Empty) else found
        return self.row(cells, reasons if self.gives_reasons else None)

    def row(self, cells: Mapping[str, object], reasons: Mapping[str, str] | None = None) -> Row:
        """Check one row and put it into column order.

        Args:
            cells: a value per column; ``empty_because`` is written by this method.
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
        if self.check is not None:
            self.check(row)
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
