"""Loads of experts, and reference instances, as CSV files."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.text_file import read_text_file
from moe_mapping.slots import SlotShape, check_loads

__all__ = ["Instance", "read_loads", "read_reference"]

SHOWN = 40  # characters of a cell that a message repeats


@dataclass(frozen=True)
class Instance:
    """A reference instance.

    Attributes:
        name: of the file of its loads.
        shape: slots of a layer.
        eplb_mean: slowest over mean device load that EPLB reaches, mean over layers.
        bound_mean: the lower bound of that.
    """

    name: str
    shape: SlotShape
    eplb_mean: float
    bound_mean: float


def read_loads(path: Path) -> NDArray[np.float64]:
    """Read loads from CSV without header: a row per layer, a column per expert.

    Lines that are empty are left out.

    Returns:
        Loads, [layers, experts].

    Raises:
        CimsimError: with the line of the first thing that is wrong.
    """
    rows: list[list[float]] = []
    text = read_text_file(path, "file of loads", pipe=True)
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        row = [_load(field, path, number, i) for i, field in enumerate(_cells(line), start=1)]
        if rows and len(row) != len(rows[0]):
            raise CimsimError(
                "every layer needs a load for every expert",
                file=path,
                line=number,
                value=len(row),
                allowed=f"{len(rows[0])} columns",
            )
        rows.append(row)
    if not rows:
        raise CimsimError("the file of loads is empty", file=path)
    try:
        return check_loads(rows)
    except CimsimError as error:
        raise CimsimError(
            error.message, file=path, value=error.value, allowed=error.allowed
        ) from error


def _cells(line: str) -> list[str]:
    """Return the cells of one line; a line that is not CSV is one cell."""
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error:  # a quote that does not end, or a cell beyond the module's limit
        return [line]


def _load(field: str, path: Path, line: int, cell: int) -> float:
    try:
        if "_" not in field:  # which Python allows between digits
            return float(field)
    except ValueError:
        pass
    raise CimsimError(
        f"a load is not a number in column {cell}",
        file=path,
        line=line,
        value=field if len(field) <= SHOWN else f"{field[:SHOWN]}...",
        allowed="numbers separated by commas, without a header",
    )


def read_reference(folder: Path) -> list[Instance]:
    """Read ``eplb_reference.csv`` of a folder.

    Raises:
        CimsimError: if the file is missing, or lacks a column or a number.
    """
    path = folder / "eplb_reference.csv"
    if not path.is_file():
        raise CimsimError("the folder has no eplb_reference.csv", file=folder)
    found = []
    reader = csv.DictReader(read_text_file(path, "file of instances").split("\n"))
    try:
        for row in reader:
            names = ("slots", "groups", "nodes", "devices")
            eplb = (float(row[name]) for name in ("eplb_mean", "eplb_global_mean"))
            found.append(
                Instance(
                    name=row["instance"],
                    shape=SlotShape(*(int(row[name]) for name in names)),
                    eplb_mean=min(eplb),
                    bound_mean=float(row["lower_bound_mean"]),
                )
            )
    except KeyError as error:
        raise CimsimError("a column is missing", file=path, key=str(error.args[0])) from error
    except (TypeError, ValueError, csv.Error) as error:
        raise CimsimError(
            f"a number is missing or malformed: {error}", file=path, line=reader.line_num
        ) from error
    if not found:
        raise CimsimError("names no instance", file=path)
    return found
