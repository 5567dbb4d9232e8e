"""Two runs side by side: which columns of results.csv changed, and for better or worse."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cimsim.errors import CimsimError, CimsimInternalError
from cimsim.results.column import Cell, Column, Row, Table
from cimsim.results.csv_file import rows_from_csv
from cimsim.results.result_columns import results_table

__all__ = ["Change", "compare_runs", "read_results"]

Verdict = Literal["better", "worse", "changed"]


@dataclass(frozen=True)
class Change:
    """One cell that differs between two runs.

    Attributes:
        config: the chip.
        model: the checkpoint.
        column: what differs.
        before: value in the first run, None where empty.
        after: value in the second run, None where empty.
        verdict: better or worse where the column has a direction, else changed.
    """

    config: str
    model: str
    column: Column
    before: Cell
    after: Cell
    verdict: Verdict

    @property
    def relative(self) -> float | None:
        """Relative change, None if either side is no number or the first is 0."""
        before, after = _number(self.before), _number(self.after)
        if before is None or after is None or before == 0:
            return None
        return (after - before) / abs(before)


def _number(cell: Cell) -> float | None:
    return None if cell is None or isinstance(cell, str | bool) else float(cell)


def read_results(folder: Path) -> tuple[Table, list[Row]]:
    """Read results.csv of a run.

    Args:
        folder: folder of the run, or of one of its chips.

    Returns:
        Its table, with the decode batch sizes of the run, and its rows.

    Raises:
        CimsimError: if there is no readable results.csv of this version.
    """
    path = Path(folder) / "results.csv"
    if not path.is_file():
        raise CimsimError("no results.csv in this folder", file=folder)
    try:
        data = path.read_bytes()
        header = next(csv.reader([data.split(b"\n", 1)[0].decode("utf-8-sig")]), [])
        batches = [int(m[1]) for name in header if (m := re.fullmatch(r"tpot_p50_us_b(\d+)", name))]
        table = results_table(batches)
        return table, rows_from_csv(table, data)
    except (OSError, UnicodeDecodeError, CimsimInternalError) as error:
        raise CimsimError(f"cannot be read: {error}", file=path) from error


def compare_runs(
    before: Sequence[Row], after: Sequence[Row], table: Table, tolerance: float = 0.0
) -> list[Change]:
    """Return every cell that differs, chips and columns in the order of the first run.

    Chips are matched by config and model; those in one run only are left out, and so are
    columns in one run only.

    Args:
        before: rows of the first run.
        after: rows of the second run.
        table: whose columns are compared.
        tolerance: relative difference of numbers that is no change.
    """
    others = {(row["config"], row["model"]): row for row in after}
    changes: list[Change] = []
    for row in before:
        other = others.get((row["config"], row["model"]))
        if other is None:
            continue
        for column in table.columns:
            if column.name not in row or column.name not in other:
                continue
            a, b = row[column.name], other[column.name]
            if not _same(a, b, tolerance):
                verdict = _verdict(column, a, b)
                changes.append(Change(str(row["config"]), str(row["model"]), column, a, b, verdict))
    return changes


def _same(a: Cell, b: Cell, tolerance: float) -> bool:
    x, y = _number(a), _number(b)
    if x is None or y is None:
        return a == b
    return abs(x - y) <= tolerance * max(abs(x), abs(y))


def _verdict(column: Column, a: Cell, b: Cell) -> Verdict:
    x, y = _number(a), _number(b)
    if x is None or y is None or not column.better:
        return "changed"
    return "better" if (y > x) == (column.better == "higher") else "worse"
