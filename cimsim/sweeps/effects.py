"""Which knob matters: first-order shares of variance, and main effects.

The share of a knob is Var(E[y | knob]) / Var(y): how much of the spread of a column over the
points is explained by the knob alone (Sobol', Math. Model. Comput. Exp. 1(4), 1993). On a whole
grid it is exact for that grid; its interval is the range of what it would be with any one value
of another knob, of three or more, left out. On samples, values of a range are put into classes of
equal counts, the share is corrected for the classes' own scatter (epsilon squared: Kelley, PNAS
21(9), 1935), and its interval is the middle 95 % of 200 bootstrap resamples of the points. What
shares lack to 1 is what knobs do together.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from cimsim.report.sweep_view import KnobEffect
from cimsim.rng import derive_key, uniform_bits_at
from cimsim.sweeps.axes import Dimension
from cimsim.sweeps.standing import Standing, setting_cell

__all__ = ["knob_effects"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
RESAMPLES = 200
MOST_CLASSES = 8
_BOOTSTRAP = 0xB007


def knob_effects(
    standings: Sequence[Standing], axes: Sequence[Dimension], column: str, *, whole_grid: bool
) -> tuple[KnobEffect, ...]:
    """Return the effect of every dimension on a column; none if the column does not vary.

    Args:
        standings: of all points.
        axes: dimensions of the plan.
        column: whose variance is explained.
        whole_grid: whether the plan combines all values of all axes.
    """
    known = [s for s in standings if isinstance(s.row.get(column), int | float)]
    y = np.array([float(s.row[column]) for s in known])  # type: ignore[arg-type]
    if len(y) < 3 or np.ptp(y) == 0:
        return ()
    levels = [_levels(known, axis) for axis in axes]
    index = [at for at, _, _ in levels]
    groups = np.unique(np.stack(index, axis=1), axis=0)
    complete = whole_grid and len(groups) == len(known) == np.prod([len(n) for _, n, _ in levels])
    found = []
    for d, (at, names, places) in enumerate(levels):
        if len(names) < 2:
            continue
        share = _share(y, at, exact=complete)
        low, high = _left_out(y, index, d) if complete else _bootstrap(y, at)
        means = tuple(float(y[at == i].mean()) for i in range(len(names)))
        spread = tuple(
            (float(y[at == i].min()), float(y[at == i].max())) for i in range(len(names))
        )
        found.append(
            KnobEffect(
                axes[d].name, column, share, min(low, share), max(high, share), names, places,
                means, spread,
            )
        )  # fmt: skip
    return tuple(found)


def _levels(
    standings: Sequence[Standing], axis: Dimension
) -> tuple[Ints, tuple[str, ...], tuple[float, ...]]:
    """Return the level of every point, names of levels, and their places."""
    values = [dict(s.point.setting)[axis.knobs[0]] for s in standings]
    texts = [str(setting_cell(v)) for v in values]
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if numeric:
        x = np.array([float(v) for v in values])  # type: ignore[arg-type]
        distinct = np.unique(x)
        if len(distinct) <= MOST_CLASSES:
            return np.searchsorted(distinct, x), tuple(f"{v:g}" for v in distinct), tuple(distinct)
        classes = min(MOST_CLASSES, max(2, round(sqrt(len(x) / 4))))
        order = np.argsort(np.argsort(x, kind="stable"), kind="stable")
        at = order * classes // len(x)
        middles = tuple(float(np.median(x[at == i])) for i in range(classes))
        return at, tuple(f"{m:.3g}" for m in middles), middles
    names = tuple(dict.fromkeys(texts))
    return np.array([names.index(t) for t in texts]), names, tuple(map(float, range(len(names))))


def _share(y: Floats, at: Ints, *, exact: bool) -> float:
    """Return the share of the variance between levels."""
    total = float(((y - y.mean()) ** 2).sum())
    if total == 0:
        return 0.0
    counts = np.bincount(at)
    used = counts > 0
    means = np.bincount(at, weights=y)[used] / counts[used]
    between = float((counts[used] * (means - y.mean()) ** 2).sum())
    if not exact:
        free = len(y) - int(used.sum())
        within = (total - between) / free if free else 0.0
        between -= (int(used.sum()) - 1) * within
    return min(1.0, max(0.0, between / total))


def _left_out(y: Floats, index: Sequence[Ints], d: int) -> tuple[float, float]:
    """Return the range of the share on the grids without one value of another knob.

    A knob of two values is not taken from: without one of them it would not be varied.
    """
    shares = [_share(y, index[d], exact=True)]
    for e, other in enumerate(index):
        levels = int(other.max()) + 1
        if e != d and levels > 2:
            left = [other != level for level in range(levels)]
            shares += [_share(y[kept], index[d][kept], exact=True) for kept in left]
    return min(shares), max(shares)


def _bootstrap(y: Floats, at: Ints) -> tuple[float, float]:
    """Return the middle 95 % of the share over resamples of the points."""
    n = len(y)
    shares = []
    for turn in range(RESAMPLES):
        bits = uniform_bits_at(n, (turn, 0, 0), derive_key(_BOOTSTRAP, n))
        chosen = (bits.astype(np.float64) * n / 2.0**32).astype(np.int64)
        shares.append(_share(y[chosen], at[chosen], exact=False))
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(low), float(high)
