"""Every table of a run in reading order, and columns that plug-ins add to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from cimsim.errors import CimsimError
from cimsim.results.column import EMPTY_BECAUSE, Column, reasons_column
from cimsim.results.energy_rows import ENERGY
from cimsim.results.loads import EXPERT_LOAD, LATENCY, TILE_LOAD
from cimsim.results.pairs import PAIRS
from cimsim.results.run import DEFAULT_BATCHES
from cimsim.results.table import Table
from cimsim.stages.columns.calibration import CALIBRATION
from cimsim.stages.columns.details import PER_LAYER, PER_SEED, RESOURCES
from cimsim.stages.columns.energy import AREA
from cimsim.stages.columns.energy import ENERGY as ENERGY_COLUMNS
from cimsim.stages.columns.identities import check_identities
from cimsim.stages.columns.peak import PEAK
from cimsim.stages.columns.quality import ACCURACY, IDENTITY, LOAD
from cimsim.stages.columns.scale import SCALE
from cimsim.stages.columns.speed import speed_columns
from cimsim.stages.columns.writing import WRITING

__all__ = [
    "extended",
    "find_columns",
    "register_column",
    "results_table",
    "run_tables",
]

S = TypeVar("S")

EXTENSIBLE = ("results", "per_layer", "per_seed", "scale", "peak", "resources")
_ADDED: dict[str, list[Column[Any]]] = {}
"""Columns of plug-ins by table; filled while plug-ins are loaded, before anything runs."""


def register_column(table: str, column: Column[Any]) -> None:
    """Add a column to a table of every run of this process, behind its own columns.

    Args:
        table: results, per_layer, per_seed, scale, peak or resources; what its columns are
            measured on stands in `cimsim.stages.columns` (`ChipMeasurement` for results).
        column: with a value.

    Raises:
        CimsimError: if the table takes no columns, or has one of this name.
    """
    if table not in EXTENSIBLE:
        raise CimsimError("takes no further columns", key=table, allowed=", ".join(EXTENSIBLE))
    if column.value is None:
        raise CimsimError("has no value", key=f"{table}.{column.name}")
    taken = next(t for t in run_tables() if t.name == table).by_name
    if column.name in taken:
        raise CimsimError("is a column already", key=f"{table}.{column.name}")
    if column.empty and EMPTY_BECAUSE not in taken and len(column.empty) > 1:
        raise CimsimError("has no room for several reasons", key=f"{table}.{column.name}")
    _ADDED.setdefault(table, []).append(column)


def extended(table: Table[S]) -> Table[S]:
    """Return a table with the columns that plug-ins add to it, before its reasons."""
    added = _ADDED.get(table.name, [])
    if not added:
        return table
    own = [c for c in table.columns if c.name != EMPTY_BECAUSE]
    last = [c for c in table.columns if c.name == EMPTY_BECAUSE]
    return replace(table, columns=(*own, *added, *last))


def results_table(batches: Sequence[int] = DEFAULT_BATCHES) -> Table[Any]:
    """Return the table of results.csv.

    Args:
        batches: decode batch sizes of the run, each once, in rising order.
    """
    columns = (
        *IDENTITY,
        *ACCURACY,
        *LOAD,
        *speed_columns(batches),
        *ENERGY_COLUMNS,
        *AREA,
        *WRITING,
        *CALIBRATION,
        reasons_column(),
    )
    return extended(Table("results", "One row per chip and model.", columns, check_identities))


def run_tables(batches: Sequence[int] = DEFAULT_BATCHES) -> tuple[Table[Any], ...]:
    """Return every table of a run in reading order.

    Args:
        batches: decode batch sizes, which decide some columns of results.csv.
    """
    return (
        results_table(batches),
        extended(PER_LAYER),
        extended(PER_SEED),
        PAIRS,
        ENERGY,
        extended(SCALE),
        extended(PEAK),
        TILE_LOAD,
        EXPERT_LOAD,
        LATENCY,
        extended(RESOURCES),
    )


def find_columns(name: str) -> tuple[tuple[Table[Any], Column[Any]], ...]:
    """Return the tables that have a column of this name, none if it is no column.

    Args:
        name: a column, or ``<table>.<column>``.
    """
    return tuple(
        (table, column)
        for table in run_tables()
        for column in table.columns
        if name in {column.name, f"{table.name}.{column.name}"}
    )
