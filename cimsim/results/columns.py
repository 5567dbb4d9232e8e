"""Registry of every column that a run writes: used by files, `explain` and glossaries."""

from __future__ import annotations

from collections.abc import Sequence

from cimsim.errors import CimsimError, nearest
from cimsim.results.column import Column, Table
from cimsim.results.detail_columns import (
    ENERGY,
    EXPERT_LOAD,
    LATENCY,
    PER_LAYER,
    PER_SEED,
    RESOURCES,
    TILE_LOAD,
)
from cimsim.results.pairs import PAIRS
from cimsim.results.peak_columns import PEAK
from cimsim.results.result_columns import DEFAULT_BATCHES, results_table
from cimsim.results.scale_columns import SCALE

__all__ = ["RESULTS", "all_tables", "column_names", "explain_column", "find_columns"]

RESULTS = results_table(DEFAULT_BATCHES)


def all_tables(batches: Sequence[int] = DEFAULT_BATCHES) -> tuple[Table, ...]:
    """Return every table of a run in reading order.

    Args:
        batches: decode batch sizes, which decide some columns of results.csv.
    """
    return (
        results_table(batches),
        PER_LAYER,
        PER_SEED,
        PAIRS,
        ENERGY,
        SCALE,
        PEAK,
        TILE_LOAD,
        EXPERT_LOAD,
        LATENCY,
        RESOURCES,
    )


def column_names() -> tuple[str, ...]:
    """Return every column name, each once, in the order of the tables."""
    return tuple(dict.fromkeys(c.name for t in all_tables() for c in t.columns))


def find_columns(name: str) -> tuple[tuple[Table, Column], ...]:
    """Return the tables that have a column of this name.

    Args:
        name: a column, or ``<table>.<column>``.

    Raises:
        CimsimError: if no table has one.
    """
    found = tuple(
        (table, column)
        for table in all_tables()
        for column in table.columns
        if name in {column.name, f"{table.name}.{column.name}"}
    )
    if not found:
        raise CimsimError("no such column", key=name, hint=nearest(name, column_names()))
    return found


def explain_column(table: Table, column: Column) -> str:
    """Return what a column is, as a few lines of text.

    Args:
        table: a table.
        column: one of its columns.
    """
    units = {"": "text" if column.type == "text" else column.type, "1": "pure number"}
    lines = [
        f"{column.name}  (column of {table.name}.csv)",
        f"  {column.meaning}",
        f"  unit: {units.get(column.unit, column.unit)}",
    ]
    if column.formula:
        lines.append(f"  formula: {column.formula}")
    if column.better:
        lines.append(f"  better: {column.better}")
    if column.minimum is not None or column.maximum is not None:
        low = "-inf" if column.minimum is None else f"{column.minimum:g}"
        high = "inf" if column.maximum is None else f"{column.maximum:g}"
        lines.append(f"  range: {low} to {high}")
    if column.empty_when:
        lines.append(f"  empty when: {column.empty_when}")
    return "\n".join(lines)
