"""Short ways to declare columns of the usual kinds."""

from __future__ import annotations

from dataclasses import replace

from cimsim.results.column import Better, Column

__all__ = ["count", "number", "text", "with_calibrated"]


def text(name: str, group: str, meaning: str, empty_when: str = "") -> Column:
    """Declare a column of text."""
    return Column(name, "", "text", meaning, group=group, empty_when=empty_when)


def count(name: str, unit: str, group: str, meaning: str, empty_when: str = "") -> Column:
    """Declare a column of whole numbers from 0."""
    return Column(name, unit, "integer", meaning, group=group, empty_when=empty_when, minimum=0)


def number(
    name: str,
    unit: str,
    group: str,
    meaning: str,
    formula: str = "",
    better: Better = "",
    empty_when: str = "",
    maximum: float | None = None,
    minimum: float = 0.0,
) -> Column:
    """Declare a column of numbers from 0."""
    return Column(
        name, unit, "number", meaning, formula, group, empty_when, better, minimum, maximum
    )


def with_calibrated(column: Column) -> tuple[Column, Column]:
    """Declare a column and its twin after calibration."""
    twin = replace(
        column,
        name=f"{column.name}_calibrated",
        meaning=f"{column.meaning} After calibration.",
        # A formula names columns without calibration.
        formula="",
    )
    return column, twin
