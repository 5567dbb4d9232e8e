"""The table of chips that switch experts: how often, how fast, what for, for how long."""

from __future__ import annotations

from cimsim.report.cells import EMPTY, duration, number, optional, percent, significant
from cimsim.report.grid import Grid
from cimsim.report.grouping import by_precision
from cimsim.report.view import Design, View

__all__ = ["switching_grid"]


def switching_grid(view: View) -> Grid | None:
    """Return what switching does to every chip, or None if all hold all of their experts."""
    if not view.switches:
        return None

    def cells(design: Design) -> tuple[str, ...]:
        row = design.row
        if not design.switches:
            return (str(design.index), design.name, *[EMPTY] * 8)
        tokens = number(row, "tokens")
        spent = number(row, "expert_switch_energy_nj") / tokens
        return (
            str(design.index),
            design.name,
            significant(number(row, "expert_switches_per_token")),
            significant(number(row, "expert_switch_bytes_per_s") / 1e9),
            f"{percent(optional(row, 'expert_hit_rate'), 0)} / "
            f"{percent(optional(row, 'expert_hit_rate_bound'), 0)}",
            significant(number(row, "expert_switch_stall_per_token_us")),
            f"{significant(number(row, 'latency_write_us'))} of "
            f"{significant(number(row, 'latency_mean_us'))}",
            f"{significant(spent)}, {percent(spent / number(row, 'energy_per_token_nj'), 0)}",
            f"{number(row, 'expert_slot_writes_max'):,.0f} in "
            f"{significant(number(row, 'makespan_us'))} us",
            _lifetime(design),
        )

    return Grid(
        "Expert switching (tiny model)",
        (
            "#",
            "chip",
            "switches/token",
            "GB/s fetched",
            "hits / optimum",
            "visits wait us/token",
            "latency for writes, us",
            "nJ/token, share",
            "writes of the busiest slot",
            "cells last",
        ),
        by_precision(view, cells),
        note="Decode at the largest batch, before calibration. Hits: expert visits whose expert "
        "was resident, beside Belady's optimum on the same requests with loading on demand, every "
        "chip of a system for itself (prefetching may exceed it). Visits wait: for their expert, "
        "summed over the visits of a token, which wait side by side. Latency for writes: the part "
        "of the mean time a token for which its slowest visits waited for cells to be written. "
        "Energy: weights read from memory and cells written. Cells last: endurance of the "
        f"busiest slot at this rate. {EMPTY}: the chip holds every expert.",
    )


def _lifetime(design: Design) -> str:
    life = optional(design.row, "switch_lifetime_s")
    if life is not None:
        return duration(life)
    return "unlimited" if number(design.row, "expert_switches") else EMPTY
