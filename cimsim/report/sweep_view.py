"""What the report of a sweep shows: points, what is wanted of them, and what knobs do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from cimsim.results.pareto import Direction

__all__ = ["Bound", "KnobEffect", "Measure", "ShownPoint", "SweepView"]

ON_TOP = ("failed", "dropped", "misses", "meets", "front")
Status = Literal["front", "meets", "misses", "dropped", "failed"]


@dataclass(frozen=True)
class Measure:
    """An objective.

    Attributes:
        name: of the column.
        unit: "1" for a pure number.
        better: whether higher or lower is better.
        meaning: what the column is.
    """

    name: str
    unit: str
    better: Direction
    meaning: str

    @property
    def label(self) -> str:
        """Name with unit."""
        return self.name if self.unit == "1" else f"{self.name} ({self.unit})"


@dataclass(frozen=True)
class Bound:
    """A constraint: a column that must not be above (upper) or below a number."""

    column: str
    upper: bool
    bound: float
    text: str


@dataclass(frozen=True)
class ShownPoint:
    """One point.

    Attributes:
        name: unique.
        chip: of which it is a variant.
        model: that was scored, "" if none.
        link: address of its resolved chip file, relative to the report; "" if there is none.
        setting: values of the varied knobs.
        values: columns that have a number.
        status: how it came out.
        why: what it misses or why it was dropped.
    """

    name: str
    chip: str
    model: str
    link: str
    setting: Mapping[str, object]
    values: Mapping[str, float]
    status: Status
    why: str


@dataclass(frozen=True)
class KnobEffect:
    """What one knob, or several that move together, does to one column.

    Attributes:
        knob: its name.
        column: the column.
        share: of the column's variance, 0 to 1.
        low, high: interval of the share.
        levels: values of the knob, or the middles of classes, as text.
        places: the same as numbers where the knob is one, else 0, 1, ...
        means: mean of the column at each.
        spread: lowest and highest at each, [levels, 2].
    """

    knob: str
    column: str
    share: float
    low: float
    high: float
    levels: tuple[str, ...]
    places: tuple[float, ...]
    means: tuple[float, ...]
    spread: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class SweepView:
    """A sweep as the report sees it.

    Attributes:
        name: of the sweep.
        description: the question.
        about: one line on how points came about.
        measures: objectives.
        bounds: constraints.
        knobs: varied knobs.
        points: all of them.
        effects: of every knob on every objective.
        further: columns of the table besides knobs and objectives.
        notes: a sentence each.
    """

    name: str
    description: str
    about: str
    measures: tuple[Measure, ...]
    bounds: tuple[Bound, ...]
    knobs: tuple[str, ...]
    points: tuple[ShownPoint, ...]
    effects: tuple[KnobEffect, ...]
    further: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def drawn(self) -> tuple[int, ...]:
        """Points that have every objective, by index; better ones come later, on top."""
        known = [
            i for i, p in enumerate(self.points) if all(m.name in p.values for m in self.measures)
        ]
        return tuple(sorted(known, key=lambda i: ON_TOP.index(self.points[i].status)))

    @cached_property
    def front(self) -> tuple[ShownPoint, ...]:
        """Points on the front, under the constraints."""
        return tuple(p for p in self.points if p.status == "front")

    @cached_property
    def varied(self) -> tuple[str, ...]:
        """Knobs that take more than one value among the points."""
        return tuple(k for k in self.knobs if len({str(p.setting.get(k)) for p in self.points}) > 1)
