"""What a run says, without what it merely repeats of its chip file."""

from __future__ import annotations

from cimsim.results import ChipResult
from cimsim.results.csv_file import csv_bytes
from cimsim.stages.columns.registry import run_tables

# Columns of results.csv that repeat the chip file.
ECHOES = (
    "config",
    "chip_hash",
    "tokens",
    "context",
    "chip_seeds",
    "mapper",
    "calibrator",
    "calibration_tokens",
    "tile_mode",
    "analog_parts",
    "device",
    "node_nm",
    "crossbar_rows",
    "crossbar_cols",
    "weight_bits",
    "input_bits",
    "adc_bits",
)
SCHEMA = run_tables((1, 2, 4))


def tables_of(result: ChipResult) -> dict[str, bytes]:
    """Return every table of a run as the bytes of its file."""
    rows = result.tables(SCHEMA[0])
    return {
        table.name: csv_bytes(table, rows[table.name]) for table in SCHEMA if table.name in rows
    }


def outcome_of(result: ChipResult) -> tuple[object, ...]:
    """Return everything that a run measured: cells that do not repeat the chip file.

    `energy.csv` counts by component, kind, action and energy; where a unit energy comes from
    is a word of the chip file.
    """
    found: list[object] = []
    for name, rows in result.tables(SCHEMA[0]).items():
        for row in rows:
            hidden = {*ECHOES, "source"} if name in {"results", "energy"} else {"config"}
            found.append((name, tuple((k, v) for k, v in row.items() if k not in hidden)))
    return tuple(found)
