"""CSV with the same bytes for the same numbers, on every platform.

The one writer of the product. UTF-8, comma, line feeds, a header, no index. Numbers are
written with ten significant digits (``%.10g``): more than any model here is good for, and few
enough that the file reads well. Integers are exact; flags are true and false; empty cells are
empty, and so is what is not a number.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cimsim.errors import CimsimInternalError
from cimsim.results.column import Cell, Column, Row
from cimsim.results.table import Table

__all__ = ["csv_bytes", "csv_of", "rows_from_csv"]


def _written(value: object, digits: int) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = f"{value:.{digits}g}"
        return "0" if text == "-0" else text
    return str(value)


def csv_of(names: Sequence[str], rows: Iterable[Mapping[str, object]], digits: int = 10) -> bytes:
    """Return rows as the bytes of a CSV file.

    Args:
        names: columns in file order.
        rows: a value of every column.
        digits: significant digits of numbers.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_written(row[name], digits) for name in names] for row in rows)
    return text.getvalue().encode("utf-8")


def csv_bytes(table: Table[Any], rows: Iterable[Row]) -> bytes:
    """Return checked rows of a table as the bytes of its file."""
    return csv_of([c.name for c in table.columns], rows)


def rows_from_csv(table: Table[Any], data: bytes) -> list[Row]:
    """Read rows back and check each cell against its column.

    Args:
        table: what the file should be.
        data: bytes of a file that `csv_bytes` wrote; a spreadsheet may have put a byte order
            mark before them.

    Raises:
        CimsimInternalError: if header or cells are not those of the table.
    """
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    header = next(reader, [])
    if header != [c.name for c in table.columns]:
        message = f"not a {table.name}.csv of this version: columns {header}"
        raise CimsimInternalError(message)
    rows: list[Row] = []
    for cells in reader:
        if len(cells) != len(table.columns):
            message = f"{table.name}.csv: a row has {len(cells)} cells"
            raise CimsimInternalError(message)
        rows.append({c.name: _parse(c, text) for c, text in zip(table.columns, cells, strict=True)})
    return rows


def _parse(column: Column[Any], text: str) -> Cell:
    if text == "" and (column.empty or column.type != "text"):
        return column.check(None)
    try:
        if column.type == "integer":
            return column.check(int(text))
        if column.type == "number":
            return column.check(float(text))
    except ValueError as error:
        message = f"column {column.name}: not a {column.type}: {text!r}"
        raise CimsimInternalError(message) from error
    if column.type == "flag":
        return column.check({"true": True, "false": False}.get(text, text))
    return column.check(text)
