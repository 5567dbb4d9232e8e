"""Axes become settings: the values of every varied knob at every point of a plan.

Axes that are zipped move together and count as one dimension. A grid combines all values of
all dimensions, the last dimension fastest. Samples are drawn in the unit cube (scipy.stats.qmc:
Owen-scrambled Sobol points, Latin hypercube; or independently) and carried to values: the share
of a list's places, or the range itself, evenly or in the logarithm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil, exp, log, log2, prod

import numpy as np
from numpy.typing import NDArray

from cimsim.config.knobs import find_knobs
from cimsim.config.sweep import Span, SweepPlan
from cimsim.errors import CimsimError
from cimsim.rng import derive_key, uniform_bits_at

__all__ = ["Dimension", "Setting", "count_settings", "dimensions", "settings_of"]

Setting = tuple[tuple[str, object], ...]
"""Values of the varied knobs of one point, in the order of the plan."""
_RANDOM = 0x5EE9


@dataclass(frozen=True)
class Dimension:
    """Axes that move together.

    Attributes:
        knobs: their dotted paths.
        values: of a list, a tuple per place with a value for every knob; empty for a range.
        span: the range of one knob, or None.
        whole: whether the knob of a range takes whole numbers alone.
    """

    knobs: tuple[str, ...]
    values: tuple[tuple[object, ...], ...] = ()
    span: Span | None = None
    whole: bool = False

    @property
    def name(self) -> str:
        """What the dimension is called: its knobs."""
        return " + ".join(self.knobs)

    def at(self, share: float) -> tuple[object, ...]:
        """Return the values at a share of the dimension, 0 to 1 (without 1)."""
        if self.span is None:
            return self.values[int(share * len(self.values))]
        low, high = self.span.low, self.span.high
        if self.whole:  # every whole number of the range has a share of its own
            low, high = low - (0.0 if self.span.log else 0.5), high + 0.5
        if self.span.log:
            value = exp(log(low) + share * (log(high) - log(low)))
        else:
            value = low + share * (high - low)
        if self.whole:
            return (int(min(max(round(value), ceil(self.span.low)), int(self.span.high))),)
        return (float(f"{value:.6g}"),)

    def grid(self) -> tuple[tuple[object, ...], ...]:
        """Return every value of a grid.

        Raises:
            CimsimError: if it is a range that does not say how many.
        """
        if self.span is None:
            return self.values
        if self.span.count is None:
            raise CimsimError(
                "a range needs count in a grid",
                key=f"axes.{self.knobs[0]}",
                allowed="{low, high, count}, a list, or points drawn by sample",
            )
        low, high, n = self.span.low, self.span.high, self.span.count
        spread = np.geomspace(low, high, n) if self.span.log else np.linspace(low, high, n)
        values = [round(v) if self.whole else float(f"{v:.6g}") for v in spread.tolist()]
        return tuple((v,) for v in dict.fromkeys(values))


def dimensions(plan: SweepPlan) -> tuple[Dimension, ...]:
    """Return the dimensions of a plan in the order of its axes.

    Raises:
        CimsimError: if there is nothing to vary.
    """
    whole = {k.path for k in find_knobs() if k.type_name.split(" | ")[0] == "integer"}
    partner = {axis: group for group in plan.zip for axis in group}
    found: list[Dimension] = []
    seen: set[str] = set()
    for axis, values in plan.axes.items():
        if axis in seen:
            continue
        group = partner.get(axis, (axis,))
        seen.update(group)
        if isinstance(values, Span):
            found.append(Dimension(group, span=values, whole=axis in whole))
        else:
            lists = [plan.axes[name] for name in group]
            found.append(Dimension(group, tuple(zip(*lists, strict=True))))
    empty = [d.name for d in found if d.span is None and not d.values]
    if empty or not found:
        raise CimsimError(
            f"the plan is empty: {'axis ' + empty[0] + ' has no value' if empty else 'no axis'}",
            key="axes",
            hint="name a knob with the values that it shall take",
        )
    return tuple(found)


def count_settings(plan: SweepPlan) -> int:
    """Return how many settings a plan has at most, without making them."""
    if plan.sample is not None:
        return plan.sample.points
    return prod(len(d.grid()) for d in dimensions(plan))


def settings_of(plan: SweepPlan) -> Iterator[Setting]:
    """Yield the settings of a plan in order."""
    axes = dimensions(plan)
    places: Iterable[tuple[tuple[object, ...], ...]]
    if plan.sample is None:
        places = product(*(d.grid() for d in axes))
    else:
        cube = _unit_cube(plan, len(axes)).tolist()
        places = (tuple(d.at(u) for d, u in zip(axes, row, strict=True)) for row in cube)
    for chosen in places:
        yield tuple(
            (knob, value)
            for axis, values in zip(axes, chosen, strict=True)
            for knob, value in zip(axis.knobs, values, strict=True)
        )


def _unit_cube(plan: SweepPlan, width: int) -> NDArray[np.float64]:
    """Return the points of a sample, [points, dimensions] in 0 to 1."""
    sample = plan.sample
    assert sample is not None  # noqa: S101 - asked only of plans that sample
    if sample.method == "random":
        columns = [
            uniform_bits_at(sample.points, (0, 0, 0), derive_key(sample.seed, _RANDOM, d))
            for d in range(width)
        ]
        return np.asarray((np.stack(columns, axis=1) + 0.5) / 2.0**32, dtype=np.float64)
    from scipy.stats import qmc  # noqa: PLC0415 - slow to import

    if sample.method == "latin_hypercube":
        drawn = qmc.LatinHypercube(width, rng=sample.seed).random(sample.points)
    else:  # a run of 2^k points, of which the first are a sequence of their own
        powers = ceil(log2(sample.points)) if sample.points > 1 else 0
        drawn = qmc.Sobol(width, rng=sample.seed).random_base2(powers)[: sample.points]
    return np.asarray(drawn, dtype=np.float64)
