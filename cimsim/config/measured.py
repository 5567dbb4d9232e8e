"""Tables that a laboratory measured: rows of cells and of converters, and what they must hold.

A chip file names a CSV file (`cimsim.config.measured_file`); the resolved chip holds its rows, so
that they, and not a name, are the identity of the chip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from cimsim.config.bounds import AGE_S, TEMPERATURE_C

__all__ = [
    "MOST_ROWS",
    "CellRow",
    "CellUnit",
    "ConverterRow",
    "fault_of_cells",
    "fault_of_converter",
    "refuse_fault",
]

MOST_ROWS = 4096
CellUnit = Literal["us", "frac_gmax", "level"]
_Number = Annotated[float, Field(ge=-1e9, le=1e9)]

CellRow = tuple[_Number, _Number, _Number, _Number, _Number]
"""Time since programming in s, temperature in C, target, mean and standard deviation of cells."""
ConverterRow = tuple[_Number, _Number, _Number]
"""Share of the input range, mean code and standard deviation of codes in LSB."""

Fault = tuple[int, str] | None
"""Row at fault, from 0, and a sentence; None of a sound table."""


def fault_of_cells(rows: Sequence[CellRow]) -> Fault:
    """Return what is wrong with a table of cells, None if nothing is.

    Rows stand in blocks of one time and temperature; in each, targets grow. Every temperature is
    measured at every time.
    """
    blocks: dict[tuple[float, float], list[float]] = {}
    last = None
    for at, (time_s, temperature_c, target, mean, sigma) in enumerate(rows):
        place = (time_s, temperature_c)
        found = None
        if not AGE_S.least <= time_s <= AGE_S.most:
            found = f"time_s is a time since programming, {AGE_S.least:g} to {AGE_S.most:g} s"
        elif not TEMPERATURE_C.least <= temperature_c <= TEMPERATURE_C.most:
            low, high = TEMPERATURE_C.least, TEMPERATURE_C.most
            found = f"temperature_c is {low:g} to {high:g} C"
        elif min(target, sigma) < 0.0:
            found = "a target and a spread are not negative"
        elif place != last and place in blocks:
            found = "rows of one time and temperature stand together"
        elif place == last and target <= blocks[place][-1]:
            found = "targets grow within one time and temperature"
        if found is not None:
            return at, found
        del mean
        blocks.setdefault(place, []).append(target)
        last = place
    times, temperatures = ({place[i] for place in blocks} for i in (0, 1))
    if len(blocks) < len(times) * len(temperatures):
        grid = ((t, c) for t in sorted(times) for c in sorted(temperatures))
        time_s, temperature_c = next(place for place in grid if place not in blocks)
        place_text = f"{time_s:g} s at {temperature_c:g} C is missing"
        return len(rows) - 1, f"{place_text}: every temperature is measured at every time"
    short = next((place for place, targets in blocks.items() if len(targets) < 2), None)
    if short is not None:
        at = next(i for i, row in enumerate(rows) if row[:2] == short)
        return at, "a time and temperature need two targets at least"
    return None


def fault_of_converter(rows: Sequence[ConverterRow]) -> Fault:
    """Return what is wrong with a transfer curve, None if nothing is.

    Inputs grow from 0 to 1, the ends of the range; codes do not fall.
    """
    for at, (place, code, noise) in enumerate(rows):
        if not 0.0 <= place <= 1.0:
            return at, "input_frac is a share of the range, 0 to 1"
        if min(code, noise) < 0.0:
            return at, "a code and its noise are not negative"
    for at, (one, other) in enumerate(pairwise(rows), start=1):
        if other[0] <= one[0]:
            return at, "input_frac grows"
        if other[1] < one[1]:
            return at, "code_lsb does not fall"
    ends = (0, 0.0), (len(rows) - 1, 1.0)
    for at, end in ends:
        if rows[at][0] != end:
            return at, "the first input is 0 and the last is 1: nothing is extrapolated"
    return None


def refuse_fault(rows: Sequence[tuple[float, ...]], fault_of: Callable[..., Fault]) -> None:
    """Refuse a table that is missing or unsound.

    Raises:
        ValueError: with a sentence.
    """
    if not rows:
        message = "needs a file of measurements: file: FILE.csv"
        raise ValueError(message)
    fault = fault_of(rows)
    if fault is not None:
        message = f"row {fault[0] + 1} of the measurements: {fault[1]}"
        raise ValueError(message)
