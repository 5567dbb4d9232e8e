"""Tables of one chip: its layers and its largest energy rows."""

from __future__ import annotations

from math import fsum

from cimsim.report.cells import number, optional, percent, significant, text
from cimsim.report.grid import Grid, GridGroup
from cimsim.report.view import Design

__all__ = ["energy_rows_grid", "layer_grid"]

SHOWN_COMPONENTS = 10


def layer_grid(design: Design) -> Grid:
    """Every decoder layer: size, agreement, load, clipping."""
    rows = tuple(
        (
            f"{number(r, 'layer'):.0f}",
            text(r, "block"),
            f"{number(r, 'crossbars'):,.0f}",
            significant(optional(r, "conversions_per_token")),
            percent(optional(r, "adc_clip_rate"), 2),
            percent(optional(r, "topk_agreement")),
            percent(optional(r, "topk_agreement_calibrated")),
            significant(optional(r, "expert_load_cv_clean")),
            significant(optional(r, "expert_load_cv")),
            significant(optional(r, "expert_load_cv_calibrated")),
        )
        for r in design.chip.per_layer
    )
    return Grid(
        "Layers",
        (
            "layer",
            "block",
            "crossbars",
            "conversions/token",
            "clipped",
            "top-k agreement",
            "calibrated",
            "load CV, float",
            "on the chip",
            "calibrated",
        ),
        (GridGroup("", rows),),
        note="n/a: the layer has no router, or nothing of it is converted.",
    )


def energy_rows_grid(design: Design) -> Grid:
    """The largest energy rows of decode, with where their unit energy comes from."""
    phase = f"decode_b{number(design.row, 'latency_batch'):.0f}"
    rows = [
        r
        for r in design.chip.energy
        if text(r, "phase") == phase and r["calibrated"] is True and number(r, "energy_nj") > 0
    ]
    rows.sort(key=lambda r: (-number(r, "energy_nj"), text(r, "component")))
    total = fsum(number(r, "energy_nj") for r in rows)
    shown = rows[:SHOWN_COMPONENTS]
    cells = tuple(
        (
            text(r, "component"),
            text(r, "kind").replace("_", "-"),
            significant(optional(r, "energy_per_token_nj")),
            percent(number(r, "energy_nj") / total),
            significant(number(r, "count")),
            significant(optional(r, "energy_per_action_fj")),
            text(r, "source"),
        )
        for r in shown
    )
    rest = len(rows) - len(shown)
    return Grid(
        f"Largest energies (tiny model, {phase.replace('_b', ', batch ')}, calibrated)",
        ("component", "kind", "nJ/token", "share", "actions", "fJ each", "source"),
        (GridGroup("", cells),),
        last_words=True,
        note="Leakage and rows of published tables count nanoseconds instead of actions (fJ/ns = "
        "uW)." + (f" {rest} smaller rows are in energy.csv." if rest > 0 else ""),
    )
