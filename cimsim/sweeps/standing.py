"""How every point of a sweep came out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cimsim.config.sweep import SweepPlan
from cimsim.results import Cell, Column, Row
from cimsim.sweeps.ladder import fronts, misses, objective_values
from cimsim.sweeps.points import Point
from cimsim.sweeps.wants import Wants

__all__ = ["Standing", "SweepResults", "judge"]

Status = Literal["front", "meets", "misses", "dropped", "failed"]


@dataclass(frozen=True)
class Standing:
    """How one point came out.

    Attributes:
        point: the point.
        status: on the front under the constraints; meets the constraints; misses one; dropped on
            a rung; or failed.
        rung: of the ladder on which it was last evaluated; -1 where it was only laid out.
        why: what it misses, why it was dropped, or how it failed; "" else.
        row: its columns, as far as they are known.
    """

    point: Point
    status: Status
    rung: int
    why: str
    row: Row


@dataclass(frozen=True)
class SweepResults:
    """A sweep that is over.

    Attributes:
        plan: what was asked.
        wants: its constraints and objectives.
        columns: of its table by name.
        standings: of all points, in the order of the plan.
        invalid: points left out by ``--skip-invalid``, a sentence each.
        notes: what a reader should know, a sentence each.
    """

    plan: SweepPlan
    wants: Wants
    columns: Mapping[str, Column[Any]]
    standings: tuple[Standing, ...]
    invalid: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def knobs(self) -> tuple[str, ...]:
        """The varied knobs."""
        return tuple(self.plan.axes)

    def nobody(self) -> str:
        """Return a sentence if points were evaluated and none meets the constraints, else ""."""
        tried = [s for s in self.standings if s.status != "failed"]
        if not tried or any(s.status in {"front", "meets", "dropped"} for s in tried):
            return ""
        said = []
        for constraint in self.wants.constraints:
            found = [v for s in tried if (v := _number(s.row.get(constraint.column))) is not None]
            if found and all(constraint.excess(v) > 0 for v in found):
                best = min(found, key=constraint.excess)
                said.append(f"{constraint} (the nearest is {best:.6g})")
        which = ", ".join(said) or "all of " + ", ".join(map(str, self.wants.constraints))
        return f"no point meets {which}"

    def table(self) -> tuple[list[str], list[dict[str, Cell]]]:
        """Return names and rows of sweep.csv."""
        named = [n for n in self.columns if any(s.row.get(n) is not None for s in self.standings)]
        names = ["point", "chip", "model", *self.knobs, "status", "rung", "why", *named]
        return names, [self._cells(s, named) for s in self.standings]

    def _cells(self, standing: Standing, named: Sequence[str]) -> dict[str, Cell]:
        point = standing.point
        setting = {k: setting_cell(v) for k, v in point.setting}
        return {
            "point": point.name,
            "chip": point.chip,
            "model": point.model,
            **{k: setting.get(k) for k in self.knobs},
            "status": standing.status,
            "rung": standing.rung,
            "why": standing.why,
            **{n: standing.row.get(n) for n in named},
        }


def setting_cell(value: object) -> Cell:
    """Return the value of a knob as a cell: lists as JSON."""
    if isinstance(value, list | tuple):
        return json.dumps(list(value))
    assert value is None or isinstance(value, str | int | float | bool)  # noqa: S101 - the schema
    return value


def judge(
    points: Sequence[Point],
    rows: Mapping[str, tuple[int, Row]],
    out: Mapping[str, tuple[Status, str]],
    wants: Wants,
) -> tuple[Standing, ...]:
    """Return the standing of every point.

    Args:
        points: in order.
        rows: last rung and row of what was evaluated or laid out, by name.
        out: status and reason of points that are out of the running.
        wants: constraints and objectives.
    """
    missed = {n: misses(row, wants) for n, (_, row) in rows.items() if n not in out}
    meeting = [n for n, why in missed.items() if not why]
    rank = fronts(objective_values([rows[n][1] for n in meeting], wants.objectives))
    on_front = {n for n, r in zip(meeting, rank, strict=True) if r == 0}
    found = []
    for point in points:
        rung, row = rows.get(point.name, (-1, {}))
        if point.name in out:
            status, why = out[point.name]
        elif missed.get(point.name):
            status, why = "misses", "; ".join(missed[point.name])
        else:
            status, why = ("front" if point.name in on_front else "meets"), ""
        found.append(Standing(point, status, rung, why, row))
    return tuple(found)


def _number(value: Cell) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
