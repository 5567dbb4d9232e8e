"""Columns of a sweep: those of scale.csv, and of results.csv where a model is scored.

A point is one chip at full size, so columns of scale.csv (decode at the largest batch) keep their
names. Columns of results.csv that have the same name speak of the tiny model, and say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cimsim.results import Column, Row
from cimsim.results.column import EMPTY_BECAUSE
from cimsim.stages.columns.registry import extended, results_table
from cimsim.stages.columns.scale import SCALE

__all__ = ["point_row", "sweep_columns"]

_TINY = "tiny."
_NOT_OF_POINTS = ("config", "model", "phase")


def sweep_columns(*, scored: bool, batches: Sequence[int]) -> dict[str, Column[Any]]:
    """Return the columns of a sweep by name, without point, chip, model and knobs.

    Args:
        scored: whether a model is scored.
        batches: decode batch sizes of all points, rising.
    """
    scale = {c.name: c for c in extended(SCALE).columns if c.name not in _NOT_OF_POINTS}
    if not scored:
        return scale
    tiny: dict[str, Column[Any]] = {}
    for column in results_table(batches).columns:
        if column.name not in (*_NOT_OF_POINTS, EMPTY_BECAUSE):
            name = _TINY * (column.name in scale) + column.name
            tiny[name] = replace(column, name=name)
    accuracy = {n: c for n, c in tiny.items() if n.startswith("ppl_")}
    return accuracy | scale | tiny


def point_row(scale: Row, results: Row | None) -> Row:
    """Return the row of a point.

    Args:
        scale: of scale.csv.
        results: of results.csv, or None where nothing was scored.
    """
    row: Row = {n: v for n, v in scale.items() if n not in _NOT_OF_POINTS}
    for name, value in (results or {}).items():
        if name not in (*_NOT_OF_POINTS, EMPTY_BECAUSE):
            row[_TINY * (name in scale) + name] = value
    return row
