"""The answer of a run: who is best, chips in the order of their energy, on one screen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cimsim.report.accuracy_tables import DESTROYED
from cimsim.report.blocks import Field, Grid
from cimsim.report.cells import EMPTY, energy_unit, number, significant, time_unit
from cimsim.report.view import SCALE_BATCH, Design, View
from cimsim.results import pareto_front

__all__ = ["ranked_grid"]

ON_FRONT = "●"


def ranked_grid(view: View) -> Grid:
    """Chips by energy per token, destroyed ones last; each precision has ranks of its own."""
    energies = {d.index: _energy_nj(view, d) for d in view.designs}
    times = {d.index: _time_us(view, d) for d in view.designs}
    unit, size = energy_unit(energies.values())
    clock, tick = time_unit(times.values())
    ranks: dict[int, str] = {}
    groups: list[tuple[str, Sequence[Design]]] = []
    for label, designs in view.groups:
        ordered = sorted(designs, key=lambda d: (d.destroyed, energies[d.index]))
        alive = [d for d in ordered if not d.destroyed]
        front = _front(alive, energies)
        for place, design in enumerate(alive, 1):
            ranks[design.index] = f"{place} {ON_FRONT}" if front[place - 1] else f"{place}"
        groups.append((label, ordered))

    def perplexity(design: Design) -> str:
        mark = DESTROYED if design.destroyed else ""
        return significant(number(design.row, "ppl_calibrated_mean"), 4) + mark

    where = f"full size, decode, batch {SCALE_BATCH}" if view.scaled else "tiny model"
    return Grid.of(
        f"Chips by energy ({where})",
        (
            Field("rank", lambda d: ranks.get(d.index, EMPTY), "rank"),
            Field("#", lambda d: str(d.index), "#"),
            Field("chip", lambda d: d.name, "chip", words=True),
            Field("perplexity", perplexity, "ppl"),
            Field(f"{unit} per token", lambda d: significant(energies[d.index] / size), unit),
            Field(f"{clock} per token", lambda d: significant(times[d.index] / tick), clock),
            Field("tokens per s", lambda d: significant(_speed(view, d)), "token/s"),
        ),
        groups,
        f"{ON_FRONT} on the front: no chip of its precision is better in both perplexity (tiny "
        f"model, calibrated) and energy. {DESTROYED} destroyed: not ranked.",
    )


def _front(designs: Sequence[Design], energies: dict[int, float]) -> list[bool]:
    if not designs:
        return []
    points = [(number(d.row, "ppl_calibrated_mean"), energies[d.index]) for d in designs]
    return [bool(f) for f in pareto_front(np.array(points), ("lower", "lower"))]


def _energy_nj(view: View, design: Design) -> float:
    row = design.scale() if view.scaled else None
    if row is None:
        return number(design.row, "energy_per_token_nj_calibrated")
    return number(row, "energy_per_token_nj")


def _time_us(view: View, design: Design) -> float:
    row = design.scale() if view.scaled else None
    return number(design.row, "latency_p50_us") if row is None else number(row, "latency_us")


def _speed(view: View, design: Design) -> float:
    row = design.scale() if view.scaled else None
    return number(design.row if row is None else row, "tokens_per_s")
