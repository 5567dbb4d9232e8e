"""Which points go on: ranked by fronts, the crowded ones last (NSGA-II's order).

Points that miss a constraint come after all that meet theirs, the nearest first. Among the
others, those on the Pareto front come first, then the front of the rest, and so on; within a
front, points with more room around them in the space of objectives come first (Deb et al.,
IEEE Trans. Evol. Comput. 6(2), 2002).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np
from numpy.typing import NDArray

from cimsim.results import Row, pareto_front
from cimsim.sweeps.wants import SweepObjective, Wants

__all__ = ["fronts", "misses", "objective_values", "survivors"]

Floats = NDArray[np.float64]


def objective_values(rows: list[Row], objectives: tuple[SweepObjective, ...]) -> Floats:
    """Return costs, [points, objectives]: lower is better in all; what has no value is infinite."""
    values = np.full((len(rows), len(objectives)), np.inf)
    for j, objective in enumerate(objectives):
        for i, row in enumerate(rows):
            value = row.get(objective.column)
            if isinstance(value, int | float) and not isinstance(value, bool):
                values[i, j] = value if objective.better == "lower" else -value
    return values


def misses(row: Row, wants: Wants) -> list[str]:
    """Return the constraints that a point misses, each with the value found."""
    return [
        f"{c} is missed ({_said(row.get(c.column))})"
        for c in wants.constraints
        if c.excess(row.get(c.column)) > 0
    ]


def fronts(costs: Floats) -> NDArray[np.int64]:
    """Return the front that each point is on, from 0, [points]."""
    rank = np.full(len(costs), -1, dtype=np.int64)
    finite = np.isfinite(costs).all(axis=1)
    left, level = np.flatnonzero(finite), 0
    while len(left):
        on = pareto_front(costs[left], ("lower",) * costs.shape[1])
        rank[left[on]] = level
        left, level = left[~on], level + 1
    rank[~finite] = level
    return rank


def survivors(
    rows: Mapping[str, Row], wants: Wants, keep: float
) -> tuple[list[str], dict[str, str]]:
    """Return the points that go on, in their order, and why others are dropped.

    Args:
        rows: what each point gave on a rung.
        wants: constraints and objectives.
        keep: share that goes on, at least one.
    """
    names = list(rows)
    room = max(1, ceil(keep * len(names)))
    missed = {n: misses(rows[n], wants) for n in names}
    costs = objective_values([rows[n] for n in names], wants.objectives)
    excess = [
        sum(max(0.0, c.excess(rows[n].get(c.column))) / max(abs(c.bound), 1e-9)
            for c in wants.constraints)
        for n in names
    ]  # fmt: skip
    meets = np.array([not missed[n] for n in names], dtype=np.bool_)
    rank = np.zeros(len(names), dtype=np.int64)
    crowd = np.zeros(len(names))
    rank[meets] = fronts(costs[meets])
    crowd[meets] = _room(costs[meets], rank[meets])
    order = sorted(
        range(len(names)),
        key=lambda i: (not meets[i], excess[i] if not meets[i] else 0.0, rank[i], -crowd[i], i),
    )
    kept = {names[i] for i in order[:room]}
    why = {
        names[i]: "; ".join(missed[names[i]])
        or f"on front {rank[i] + 1} of {rank[meets].max() + 1}, and {room} of {len(names)} go on"
        for i in order[room:]
    }
    return [n for n in names if n in kept], why


def _room(costs: Floats, rank: NDArray[np.int64]) -> Floats:
    """Return the crowding distance of every point within its front, [points]."""
    distance = np.zeros(len(costs))
    for level in np.unique(rank):
        members = np.flatnonzero(rank == level)
        for column in costs[members].T:
            order = np.argsort(column, kind="stable")
            span = column[order[-1]] - column[order[0]]
            distance[members[order[[0, -1]]]] = np.inf
            if len(members) > 2 and np.isfinite(span) and span > 0:
                gaps = (column[order[2:]] - column[order[:-2]]) / span
                distance[members[order[1:-1]]] += gaps
    return distance


def _said(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "no value"
