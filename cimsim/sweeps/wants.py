"""What a plan wants: constraints and objectives, as text that names columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cimsim.config.sweep import SweepPlan
from cimsim.errors import CimsimError, nearest
from cimsim.results import Cell, Column
from cimsim.results.pareto import Direction
from cimsim.stages.full_size import GEOMETRY

__all__ = ["Constraint", "SweepObjective", "Wants"]

_CONSTRAINT = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(<=|>=)\s*([-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s*\Z")
_OBJECTIVE = re.compile(r"\s*(?:(min|max)\s+)?([A-Za-z_][\w.]*)\s*\Z")
Columns = Mapping[str, Column[Any]]


@dataclass(frozen=True)
class Constraint:
    """A bound on a column.

    Attributes:
        column: its name.
        upper: whether values must not be above the bound; else not below.
        bound: the bound, in the column's unit.
    """

    column: str
    upper: bool
    bound: float

    def __str__(self) -> str:
        return f"{self.column} {'<=' if self.upper else '>='} {self.bound:g}"

    @property
    def early(self) -> bool:
        """Whether the layout alone decides it, before anything is timed or scored."""
        return self.column in GEOMETRY

    def excess(self, value: Cell) -> float:
        """Return by how much a value misses the bound; 0 or less meets it, no value misses."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return float("inf")
        return value - self.bound if self.upper else self.bound - value


@dataclass(frozen=True)
class SweepObjective:
    """A column to optimise.

    Attributes:
        column: its name.
        better: whether higher or lower is better.
    """

    column: str
    better: Direction

    def __str__(self) -> str:
        return f"{'min' if self.better == 'lower' else 'max'} {self.column}"


@dataclass(frozen=True)
class Wants:
    """Constraints and objectives of a plan."""

    constraints: tuple[Constraint, ...]
    objectives: tuple[SweepObjective, ...]

    @classmethod
    def of(cls, plan: SweepPlan, columns: Columns) -> Wants:
        """Read those of a plan; without objectives it gets those that it can have.

        Args:
            plan: the plan.
            columns: of its table, by name.

        Raises:
            CimsimError: if one cannot be read, names no column of numbers, or cannot be met.
        """
        constraints = tuple(_constraint(text, columns) for text in plan.constraints)
        _refuse_contradictions(constraints)
        given = plan.objectives or _usual(plan)
        objectives = tuple(_objective(text, columns) for text in given)
        if len({o.column for o in objectives}) < len(objectives):
            raise CimsimError("names a column twice", key="objectives", value=", ".join(given))
        return cls(constraints, objectives)


def _usual(plan: SweepPlan) -> tuple[str, ...]:
    if plan.accuracy == "on":
        return ("ppl_calibrated_mean", "energy_per_token_nj", "area_mm2")
    return ("tokens_per_s", "energy_per_token_nj", "area_mm2")


def _numbers(name: str, key: str, columns: Columns) -> Column[Any]:
    column = columns.get(name)
    if column is None or column.type not in {"number", "integer"}:
        what = "is not a column of the sweep" if column is None else "is not a column of numbers"
        raise CimsimError(
            what, key=key, value=name, hint=nearest(name, columns) or "see `cimsim explain`"
        )
    return column


def _constraint(text: str, columns: Columns) -> Constraint:
    found = _CONSTRAINT.match(text)
    if found is None:
        raise CimsimError(
            "must read COLUMN <= NUMBER or COLUMN >= NUMBER",
            key="constraints",
            value=text,
            allowed="e.g. area_mm2 <= 800",
        )
    name, sign, number = found.groups()
    column = _numbers(name, "constraints", columns)
    bound, upper = float(number), sign == "<="
    limit = column.minimum if upper else column.maximum
    if limit is not None and (bound < limit if upper else bound > limit):
        raise CimsimError(
            f"no chip can meet it: {name} is never {'below' if upper else 'above'} {limit:g}",
            key="constraints",
            value=text,
        )
    return Constraint(name, upper, bound)


def _refuse_contradictions(constraints: tuple[Constraint, ...]) -> None:
    for upper in (c for c in constraints if c.upper):
        for lower in (c for c in constraints if not c.upper and c.column == upper.column):
            if lower.bound > upper.bound:
                raise CimsimError(
                    "no chip can meet both", key="constraints", value=f"{upper} and {lower}"
                )


def _objective(text: str, columns: Columns) -> SweepObjective:
    found = _OBJECTIVE.match(text)
    if found is None:
        raise CimsimError(
            "must read COLUMN, min COLUMN or max COLUMN", key="objectives", value=text
        )
    direction, name = found.groups()
    column = _numbers(name, "objectives", columns)
    if direction is None and not column.better and name != "area_mm2":
        raise CimsimError(
            "is neither better high nor low by itself",
            key="objectives",
            value=name,
            allowed=f"min {name}, max {name}",
        )
    better: Direction = "lower" if (column.better or "lower") == "lower" else "higher"
    if direction is not None:
        better = "lower" if direction == "min" else "higher"
    return SweepObjective(name, better)
