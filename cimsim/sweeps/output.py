"""Tables of a sweep on disk: CSV, and Parquet where pyarrow is installed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from cimsim.results import Cell
from cimsim.results.csv_file import csv_of
from cimsim.sweeps.folder import SweepFolder
from cimsim.sweeps.standing import SweepResults

__all__ = ["write_tables"]

KINDS = {"text": "string", "integer": "Int64", "number": "float64", "flag": "boolean"}


def write_tables(folder: SweepFolder, results: SweepResults) -> tuple[str, ...]:
    """Write sweep.csv, and sweep.parquet with the extra ``parquet``; return their names."""
    names, rows = results.table()
    folder.write("sweep.csv", csv_of(names, rows))
    if find_spec("pyarrow") is None:
        return ("sweep.csv",)
    import pandas as pd  # noqa: PLC0415 - slow to import

    data: dict[str, Any] = {}
    for name in names:
        column = results.columns.get(name)
        values = [row[name] for row in rows]
        kind: Any = _kind_of(values) if column is None else KINDS[column.type]
        plain = [str(v) if kind == "string" and v is not None else v for v in values]
        data[name] = pd.Series(plain, dtype=kind)
    parquet = io.BytesIO()
    pd.DataFrame(data).to_parquet(parquet, index=False)
    folder.write("sweep.parquet", parquet.getvalue())
    return ("sweep.csv", "sweep.parquet")


def _kind_of(values: Sequence[Cell]) -> str:
    """Return the type of a knob's values: text where they are of several types."""
    types = {type(v) for v in values if v is not None}
    if types == {int}:
        return "Int64"
    if types and types <= {int, float}:
        return "float64"
    return "boolean" if types == {bool} else "string"
