"""CSV files of measured cells and converters, which chip files name.

The first line names columns with their units, in any order; lines that begin with # are comments.
A file is found relative to the chip file that names it, one from the command line relative to
the working folder, or by the name of one in `arch_configs/measured`.
Cells (`tile.device: {kind: measured, file: FILE.csv}`)::

    time_s,temperature_c,target_us,mean_us,sigma_us
    1,25,0,0.02,0.15

with `_us`, `_frac_gmax` (fractions of g_max_us) or `_level` (levels of a cell, 0 the lowest).
Converters (`tile.adc: {kind: measured, file: FILE.csv}`)::

    input_frac,code_lsb,noise_lsb
    0,0.1,0.4
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, get_args

from cimsim.config.bundled import bundled_folder
from cimsim.config.measured import (
    MOST_ROWS,
    CellUnit,
    Fault,
    fault_of_cells,
    fault_of_converter,
)
from cimsim.config.yaml_tree import Value, YamlTree
from cimsim.errors import CimsimError
from cimsim.text_file import is_file, read_text_file

__all__ = ["put_measurements"]

_CELLS: dict[str, tuple[str, ...]] = {
    unit: ("time_s", "temperature_c", f"target_{unit}", f"mean_{unit}", f"sigma_{unit}")
    for unit in get_args(CellUnit)
}
_CONVERTER: dict[str, tuple[str, ...]] = {"": ("input_frac", "code_lsb", "noise_lsb")}
_KINDS: tuple[tuple[str, dict[str, tuple[str, ...]], Callable[[Any], Fault]], ...] = (
    ("device", _CELLS, fault_of_cells),
    ("adc", _CONVERTER, fault_of_converter),
)


def put_measurements(tree: YamlTree, path: Path) -> None:
    """Replace the names of CSV files by what the files hold, in place.

    Args:
        tree: a chip before it is validated.
        path: its file, where no mark says better.

    Raises:
        CimsimError: if a file cannot be read or its table is unsound, with file and line.
    """
    tile = tree.value.get("tile")
    for name, layouts, fault_of in _KINDS:
        section = tile.get(name) if isinstance(tile, dict) else None
        if not isinstance(section, dict) or section.get("kind") != "measured":
            continue
        file = section.get("file")
        if not isinstance(file, str):
            continue  # rows of a resolved chip; what is no name is refused with the rest
        del section["file"]
        keys = ("tile", name, "file")
        mark = tree.nearest_mark(keys)
        named_by = mark.file if mark else str(path)
        found = Path() if named_by == "--set" else Path(named_by).parent
        bundled = bundled_folder() / "measured" / file
        found = bundled if not is_file(found / file) and is_file(bundled) else found / file
        unit, rows = _read(found, ".".join(keys), layouts, fault_of)
        section["rows"] = rows
        if unit:
            section["unit"] = unit


def _read(
    path: Path,
    key: str,
    layouts: dict[str, tuple[str, ...]],
    fault_of: Callable[[Any], Fault],
) -> tuple[str, list[Value]]:
    """Return the unit of a table and its rows, columns in the order of its layout."""
    lines = [
        (number, fields)
        for number, fields in _fields(read_text_file(path, "CSV file", key=key), path, key)
        if any(fields) and not fields[0].startswith("#")
    ]
    if not lines:
        raise CimsimError("holds no table", file=path, key=key)
    line, header = lines[0]
    unit = next((u for u, names in layouts.items() if sorted(names) == sorted(header)), None)
    if unit is None:
        raise CimsimError(
            "the first line names other columns",
            file=path, line=line, key=key, value=",".join(header),
            allowed=" or ".join(",".join(names) for names in layouts.values()),
        )  # fmt: skip
    if not 2 <= len(lines) - 1 <= MOST_ROWS:
        raise CimsimError(
            "a table of measurements has two rows or more",
            file=path, key=key, value=len(lines) - 1, allowed=f"2 to {MOST_ROWS}",
        )  # fmt: skip
    order = [header.index(name) for name in layouts[unit]]
    rows = [_numbers(fields, order, header, path, number, key) for number, fields in lines[1:]]
    fault = fault_of(rows)
    if fault is not None:
        number = lines[1 + fault[0]][0]
        raise CimsimError(fault[1], file=path, line=number, key=key)
    return unit, [list(row) for row in rows]


def _fields(text: str, path: Path, key: str) -> list[tuple[int, list[str]]]:
    """Return the fields of every line with its number."""
    try:
        reader = csv.reader(text.splitlines(), strict=True)
        return [(reader.line_num, [f.strip() for f in fields]) for fields in reader]
    except csv.Error as error:
        raise CimsimError(f"bad CSV: {error}", file=path, key=key) from error


def _numbers(
    fields: Sequence[str], order: list[int], header: list[str], path: Path, line: int, key: str
) -> tuple[float, ...]:
    if len(fields) != len(header):
        raise CimsimError(
            "has another number of fields than the first line",
            file=path, line=line, key=key, value=len(fields), allowed=str(len(header)),
        )  # fmt: skip
    found = []
    for at in order:
        try:
            number = float(fields[at])
        except ValueError:
            number = float("nan")
        if not isfinite(number) or abs(number) > 1e9:
            raise CimsimError(
                f"{header[at]} is not a number that can be measured",
                file=path, line=line, key=key, value=fields[at], allowed="finite, at most 1e9",
            )  # fmt: skip
        found.append(number)
    return tuple(found)
