"""Rows of plain values as JSON or as a table of text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

__all__ = ["print_row", "print_rows"]


def print_row(row: Mapping[str, object], *, as_json: bool) -> None:
    """Print one row: as JSON, or a line a plain value."""
    if as_json:
        print(json.dumps(row))
        return
    for key, value in row.items():
        if not isinstance(value, list | dict):
            print(f"{key:20} {_text(value)}")


def print_rows(rows: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    """Print rows with the same columns: as JSON, or a table with aligned columns."""
    if as_json:
        print(json.dumps(rows))
        return
    texts = [list(rows[0]), *([_text(v) for v in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in texts) for i in range(len(texts[0]))]
    for line in texts:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)))


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
