"""Pareto fronts: which designs no other design beats in everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cimsim.errors import CimsimInternalError

__all__ = ["Direction", "pareto_front"]

Direction = Literal["higher", "lower"]


def pareto_front(values: ArrayLike, better: Sequence[Direction]) -> NDArray[np.bool_]:
    """Return which points no other point dominates, [points].

    A point dominates another if it is at least as good in every objective and better in
    one. Equal points do not dominate each other: both are on the front.

    Args:
        values: one row per point, one column per objective, [points, objectives].
        better: whether higher or lower is better, for each objective.
    """
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != len(better) or not np.isfinite(points).all():
        message = "a Pareto front needs finite values of shape [points, objectives]"
        raise CimsimInternalError(message)
    sign = np.array([1.0 if b == "lower" else -1.0 for b in better])
    cost = points * sign
    front = np.ones(len(cost), dtype=np.bool_)
    for i, point in enumerate(cost):
        no_worse = (cost <= point).all(axis=1)
        front[i] = not (no_worse & (cost < point).any(axis=1)).any()
    return front
