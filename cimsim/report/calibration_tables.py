"""Tables of what calibration changed on every chip, and what it costs."""

from __future__ import annotations

from collections.abc import Callable

from cimsim.report.cells import EMPTY, number, optional, percent, significant, text
from cimsim.report.grid import Grid
from cimsim.report.grouping import by_precision
from cimsim.report.view import Design, View

__all__ = ["calibration_grids"]

ARROW = " → "


def calibration_grids(view: View) -> tuple[Grid, ...]:
    """What calibration changed: routing and accuracy, then load, time and cost."""
    return _routing_grid(view), _effect_grid(view)


def _routing_grid(view: View) -> Grid:
    def change(design: Design) -> str:
        paired = design.calibration_effect
        if paired.difference.samples == 1 or paired.difference.low == paired.difference.high:
            return f"{paired.difference.mean:+.3g}"
        sure = "" if paired.significant else " (not sure)"
        low, high = paired.difference.low, paired.difference.high
        return f"{paired.difference.mean:+.3g} [{low:+.3g}, {high:+.3g}]{sure}"

    def cells(design: Design) -> tuple[str, ...]:
        row = design.row
        return (
            str(design.index),
            design.name,
            text(row, "calibrator"),
            change(design),
            significant(optional(row, "ppl_float_calibrated"), 4),
            _two(design, "topk_agreement", percent),
            f"{significant(number(row, 'expert_load_cv_clean'))}{ARROW}"
            f"{_two(design, 'expert_load_cv', significant)}",
            _two(design, "expert_load_gini", significant),
        )

    return Grid(
        "Calibration: perplexity and routing (tiny model)",
        (
            "#",
            "chip",
            "calibrator",
            "perplexity change [95\u00a0%]",
            "float, calibrated",
            "top-k agreement",
            "expert load CV",
            "expert load Gini",
        ),
        by_precision(view, cells),
        words=3,
        note="Perplexity change is paired over the same chip seeds; “not sure” means that its "
        "interval contains zero. Float, calibrated: the correction applied to a model without "
        "errors. Expert load CV: float model, on the chip, calibrated.",
    )


def _effect_grid(view: View) -> Grid:
    def cells(design: Design) -> tuple[str, ...]:
        row = design.row
        robin = optional(row, "tile_load_max_over_mean_round_robin")
        return (
            str(design.index),
            design.name,
            text(row, "mapper"),
            significant(robin),
            _two(design, "tile_load_max_over_mean", significant),
            _two(design, "latency_p50_us", significant),
            _two(design, "energy_per_token_nj", lambda v: significant(v, 4)),
            _whole(optional(row, "calibration_cells_written")),
            _whole(optional(row, "correction_ops_per_token")),
        )

    return Grid(
        "Calibration: load, time and cost (tiny model)",
        (
            "#",
            "chip",
            "mapper",
            "tile load, round-robin",
            "tile load max/mean",
            "p50 us",
            "nJ/token",
            "cells rewritten",
            "added ops/token",
        ),
        by_precision(view, cells),
        words=3,
        note="Tile load: busiest over mean of the tiles that hold weights; round-robin places the "
        "same routing without copies.",
    )


def _two(design: Design, column: str, show: Callable[[float | None], str]) -> str:
    """Show a column before and after calibration."""
    before, after = optional(design.row, column), optional(design.row, f"{column}_calibrated")
    return f"{show(before)}{ARROW}{show(after)}"


def _whole(value: float | None) -> str:
    return EMPTY if value is None else f"{value:,.0f}"
