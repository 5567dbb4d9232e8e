"""CSV with the same bytes for the same numbers, on every platform.

UTF-8, comma, line feeds, a header, no index. Numbers are written with ten
significant digits (``%.10g``): more than any model here is good for, and few enough that
the file reads well. Integers are exact; flags are true and false; empty cells are empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from cimsim.errors import CimsimInternalError
from cimsim.results.column import Cell, Column, Row, Table

__all__ = ["csv_bytes", "format_cell", "rows_from_csv"]


def format_cell(value: Cell) -> str:
    """Return the text of one cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = f"{value:.10g}"
        return "0" if text == "-0" else text
    return str(value)


def csv_bytes(table: Table, rows: Iterable[Row]) -> bytes:
    """Return checked rows as the bytes of a CSV file.

    Args:
        table: whose columns are the header.
        rows: rows that `Table.row` made.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([c.name for c in table.columns])
    for row in rows:
        writer.writerow([format_cell(row[c.name]) for c in table.columns])
    return text.getvalue().encode("utf-8")


def rows_from_csv(table: Table, data: bytes) -> list[Row]:
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


def _parse(column: Column, text: str) -> Cell:
    if text == "" and (column.empty_when or column.type != "text"):
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
