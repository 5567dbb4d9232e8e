"""Digital baselines beside the chips of a run: a table, and what it rests on."""

from __future__ import annotations

from cimsim.report.beside import BesideChips
from cimsim.report.blocks import Bullets, Field, Grid, ReportSection, Text
from cimsim.report.cells import energy_unit, number, significant, text, time_unit
from cimsim.results import Row

__all__ = ["baseline_sections"]


def baseline_sections(beside: BesideChips) -> tuple[ReportSection, ...]:
    """Return the section of the baselines; none where there are none."""
    rows = beside.rows
    if not rows:
        return ()
    unit, size = energy_unit(number(r, "energy_per_token_nj") for r in rows)
    clock, tick = time_unit(number(r, "tpot_us") for r in rows)
    fields = (
        Field[Row]("baseline", lambda r: text(r, "baseline"), "baseline", words=True),
        Field[Row]("weights", lambda r: text(r, "dtype"), words=True),
        Field[Row]("batch", lambda r: f"{number(r, 'batch'):.0f}", "batch"),
        Field[Row]("devices", lambda r: f"{number(r, 'devices'):.0f}"),
        _figure("mm² of dies", "area_mm2", 1.0),
        _figure("W", "power_w", 1.0, "W"),
        _figure("tokens per s", "tokens_per_s", 1.0, "token/s"),
        _figure(f"{clock} per token", "tpot_us", tick, f"{clock} per token"),
        _figure(f"{unit} per token", "energy_per_token_nj", size, unit),
        Field[Row]("limited by", lambda r: text(r, "limit"), words=True),
    )
    groups = [(name, [r for r in rows if r["baseline"] == name]) for name in _names(rows)]
    grid = Grid.of(f"Baselines ({beside.shape}): decode at full context", fields, groups)
    rule = Text(
        "Rooflines of one set of devices that holds weights and cache: each operation takes the "
        "longer of its products and its bytes, weights are read once a step, keys and values of "
        "every sequence whole. Launches, links between devices and idle time are free."
    )
    return (ReportSection("baselines", "Digital baselines", (rule, grid, Bullets(beside.notes))),)


def _names(rows: tuple[Row, ...]) -> list[str]:
    return list(dict.fromkeys(text(r, "baseline") for r in rows))


def _figure(title: str, column: str, size: float, narrow: str = "") -> Field[Row]:
    return Field(title, lambda r: significant(number(r, column) / size), narrow)
