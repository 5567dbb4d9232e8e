"""The volume that a front dominates: one number for how good a set of points is.

Lebesgue measure of what at least one point dominates and lies below a reference point (Zitzler
and Thiele, IEEE Trans. Evol. Comput. 3(4), 1999), by slicing along the last objective.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.results import pareto_front

__all__ = ["hypervolume"]

Floats = NDArray[np.float64]


def hypervolume(costs: Floats, reference: Floats) -> float:
    """Return the volume, in the product of the objectives' units.

    Args:
        costs: [points, objectives], lower is better in all.
        reference: [objectives]; points that are not below it in all objectives count nothing.
    """
    inside = costs[(costs < reference).all(axis=1)]
    if not len(inside):
        return 0.0
    front = np.unique(inside[pareto_front(inside, ("lower",) * inside.shape[1])], axis=0)
    return _volume(front, reference)


def _volume(points: Floats, reference: Floats) -> float:
    if points.shape[1] == 1:
        return float(reference[0] - points[:, 0].min())
    order = np.argsort(points[:, -1], kind="stable")
    points = points[order]
    ends = np.append(points[1:, -1], reference[-1])
    total = 0.0
    for i, end in enumerate(ends.tolist()):
        depth = end - float(points[i, -1])
        if depth > 0:
            below = points[: i + 1, :-1]
            kept = below[pareto_front(below, ("lower",) * below.shape[1])]
            total += depth * _volume(np.unique(kept, axis=0), reference[:-1])
    return total
