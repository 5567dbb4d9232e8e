"""What a subject stores: rows by name, each with values by column.

Tables, columns and texts that the product renames keep their golden name: `rename.json` says
{"tables": {new: golden}, "columns": {new: golden}, "values": {golden column: {new: golden}}}.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Row", "Value", "Values", "digest", "flat", "golden_table", "table_rows"]

Value = int | float | str | bool | None
Row = dict[str, Value]
"""One row: values by column."""
Values = dict[str, Row]
"""All rows of a subject by name."""

RENAMES: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "rename.json").read_text(encoding="utf-8")
)
KEYS = {
    "results": (),
    "per_layer": ("layer",),
    "per_seed": ("chip_seed",),
    "energy": ("phase", "calibrated", "component", "kind"),
    "scale": ("phase", "batch"),
    "peak": ("form",),
    "tile_load": ("tile",),
    "expert_load": ("layer", "expert"),
    "latency": ("phase", "calibrated", "percent"),
    "resources": ("kind", "resource"),
}
"""Columns that name a row of a table."""
LEFT_OUT = {
    "config", "model", "chip_hash", "source", "empty_because", "note", "notes", "not_modelled",
    "fitted_constants", "cautions",
}  # fmt: skip
"""Names of the subject itself, and prose: neither is a result."""
LEFT_OUT |= {"bits_per_byte_float", "bits_per_byte_noisy", "bits_per_byte_calibrated"}
"""Columns that came after the values were stored, and follow from columns that are."""
LEFT_OUT |= {"from_scratch"}
"""Figures of chips that came after the values were stored: `tests/cost` holds what they say."""
LEFT_OUT |= {"adc_range", "adc_range_levels", "adc_range_error", "adc_range_least_error"}
"""Columns that came after the values were stored: `tests/mac` holds what they say."""
LEFT_OUT |= {"tier_switches_per_token", "energy_leakage_input_scale_nj"}
"""A column that came after the values were stored: `tests/engine` holds what it says."""
LEFT_OUT |= {
    "calibration_parts", "calibration_pass_tokens", "calibration_all_energy_nj",
    "calibration_all_time_us", "calibration_energy_per_token_nj", "calibration_time_per_token_us",
    "calibration_writes_per_token", "ppl_calibrated_worst", "ppl_calibrated_chips_and_text_low",
    "ppl_calibrated_chips_and_text_high", "yield", "yield_ci_low", "yield_ci_high",
}  # fmt: skip
"""Columns that came after the values were stored: `tests/pipeline` holds what they say."""


def digest(found: Any) -> str:
    """Return the SHA-256 of nested lists of integers and texts, first 16 digits."""
    text = json.dumps(found, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def golden_table(name: str) -> str:
    """Return the golden name of a table."""
    return str(RENAMES["tables"].get(name, name))


def table_rows(tables: Mapping[str, Sequence[Mapping[str, str]]]) -> Values:
    """Return rows of CSV tables, each named by its table and key.

    Args:
        tables: rows of every table by its name, cells as text.
    """
    found: Values = {}
    for name, rows in tables.items():
        table = golden_table(name)
        for cells in rows:
            row = _renamed({column: _plain(cell) for column, cell in cells.items()})
            keys = [_label(key, row.pop(key)) for key in KEYS[table]]
            _add(found, " ".join([table, *keys]), row)
    return found


def flat(answer: Any) -> Values:
    """Return rows of a JSON answer: a row a mapping or list of plain values, by its path."""
    found: Values = {}
    _collect(found, (), answer)
    return found


def _collect(found: Values, path: tuple[str, ...], answer: Any) -> None:
    items = answer.items() if isinstance(answer, dict) else enumerate(answer)
    row: Row = {}
    for name, value in items:
        key = RENAMES["columns"].get(str(name), str(name))
        if key in LEFT_OUT:
            continue
        if isinstance(value, dict | list):
            _collect(found, (*path, key), value)
        else:
            row[key] = value
    if row:
        _add(found, " ".join(path), _renamed(row))


def _renamed(row: Mapping[str, Value]) -> Row:
    found: Row = {}
    for name, value in row.items():
        column = RENAMES["columns"].get(name, name)
        if column not in LEFT_OUT:
            found[column] = RENAMES["values"].get(column, {}).get(value, value)
    return found


def _label(key: str, value: Value) -> str:
    if key == "calibrated":
        return "calibrated" if value else "noisy"
    return f"{key} {value}" if isinstance(value, int | float) else str(value)


def _add(found: Values, name: str, row: Row) -> None:
    number, free = 1, name
    while free in found:
        number += 1
        free = f"{name} #{number}"
    found[free] = row


def _plain(cell: str) -> Value:
    """Return what a cell says: a number, a flag, a text, or nothing."""
    if cell in {"", "true", "false"}:
        return {"": None, "true": True, "false": False}[cell]
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell
