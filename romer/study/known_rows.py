"""Rows of a map that were measured in another folder, read from its table (`map.csv`).

A model that was trained for a study may be gone when the rest of the plan is measured: its records
cannot be made again, but its rows say all that a page tells.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cimsim.errors import CimsimError
from cimsim.text_file import read_text_file
from romer.study.map_plan import Cell, MapPlan, Place
from romer.study.map_tables import cell_of

__all__ = ["read_known"]

Row = dict[str, Any]
MOST_BYTES = 1 << 26
_WORDS = {
    "model", "error", "unit", "size_class", "parts", "treatment", "starts_at", "steps",
}  # fmt: skip
_FLAGS = {"primary", "destroyed"}
_NUMBERS = {
    "size", "chips", "nll_clean", "nll_before", "nll_after", "ppl_before", "ppl_after", "gap_nats",
    "share_closed", "share_low", "share_high", "cut_ppl", "p_value", "load_tv_before",
    "load_tv_after", "agreement_before", "agreement_after", "load_cv_before", "load_cv_clean",
}  # fmt: skip
_KEY = "--known"


def read_known(paths: Iterable[Path], plan: MapPlan) -> dict[Cell, list[Row]]:
    """Return the rows of cells that were measured elsewhere, by cell.

    Args:
        paths: tables of maps.
        plan: that they were measured for.

    Raises:
        CimsimError: if a file is no such table, or a cell is not one of the plan, has not all of
            its treatments, is primary (those are tested together) or is told twice.
    """
    places = {place.cell: place for place in plan.places()}
    found: dict[Cell, list[Row]] = {}
    for path in paths:
        of_file: dict[Cell, list[Row]] = {}
        for line, row in _rows(path):
            cell = cell_of(row)
            if wrong := _wrong_with(places.get(cell), told=cell in found):
                raise CimsimError(
                    f"a cell is {wrong}", file=path, line=line, key=_KEY, value=_named(cell)
                )
            of_file.setdefault(cell, []).append(row)
        for cell, rows in of_file.items():
            wanted = sorted(name for name, *_ in plan.treatments(places[cell]))
            if sorted(row["treatment"] for row in rows) != wanted:
                raise CimsimError(
                    "a cell has not the treatments of the plan", file=path, key=_KEY,
                    value=_named(cell), allowed=", ".join(wanted),
                )  # fmt: skip
        found |= of_file
    return found


def _wrong_with(place: Place | None, *, told: bool) -> str | None:
    """Return why a row cannot be taken, None if it can."""
    if place is None:
        return "not one of the plan"
    if place.primary:
        return "primary: measure those in one folder"
    return "told twice" if told else None


def _named(cell: Cell) -> str:
    model, error, size, parts = cell
    return f"{model}, {error} {size:g}, {parts}"


def _rows(path: Path) -> Iterable[tuple[int, Row]]:
    """Yield the number of a line and what it says."""
    text = read_text_file(path, "table of a map", key=_KEY, most_bytes=MOST_BYTES)
    table = csv.DictReader(io.StringIO(text))
    if set(table.fieldnames or ()) != _WORDS | _NUMBERS | _FLAGS:
        raise CimsimError("is no table of a map", file=path, key=_KEY, hint="give a map.csv")
    for read in table:
        line = table.line_num
        try:
            yield line, _typed(read)
        except (ValueError, TypeError, KeyError) as error:
            raise CimsimError(
                "is no row of a map", file=path, line=line, key=_KEY, value=str(error)
            ) from error


def _typed(read: dict[str, str]) -> Row:
    """Return a row with numbers and flags in the place of their words."""
    row: Row = {}
    for name, word in read.items():
        if name in _WORDS:
            row[name] = word
        elif name in _FLAGS:
            row[name] = {"true": True, "false": False}[word]
        else:
            row[name] = math.nan if word == "" else float(word)
    row["chips"] = int(row["chips"])
    return row
