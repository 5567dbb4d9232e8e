"""Which rankings survive what the cost model does not know.

Two chips are compared draw by draw of the cost model's constants (`cimsim.cost.uncertainty`):
what they share moves both. A ranking survives if it holds in at least 95 % of draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cimsim.stages.contenders import Iso
from cimsim.stages.cost_spread import Spread
from cimsim.units import FJ_PER_J, FJ_PER_NJ

if TYPE_CHECKING:
    from cimsim.stages.contenders import Contender

__all__ = ["FIGURES", "SURVIVES", "Ranking", "rankings"]

Floats = NDArray[np.float64]
SURVIVES = 0.95
FIGURES = ("energy_per_token_nj", "tokens_per_s", "power_w", "area_mm2")
LARGEST_IS_BEST = {"tokens_per_s"}
_EQUAL: Mapping[Iso, str] = {
    "area": "area_mm2",
    "throughput": "tokens_per_s",
    "power": "power_w",
}


@dataclass(frozen=True)
class Ranking:
    """Two neighbours in the order of a figure.

    Attributes:
        figure: what they are ordered by, a key of a compared system.
        better, worse: the chips.
        share: of the draws in which the order holds; a tie is half a draw.
    """

    figure: str
    better: str
    worse: str
    share: float

    @property
    def survives(self) -> bool:
        """Whether what the cost model does not know cannot turn the order."""
        return self.share >= SURVIVES

    def as_dict(self) -> dict[str, object]:
        """Return everything for JSON."""
        return {
            "figure": self.figure,
            "better": self.better,
            "worse": self.worse,
            "share_of_draws": self.share,
            "survives": self.survives,
        }


def rankings(
    classes: Sequence[Sequence[Contender]], spreads: Mapping[str, Spread], iso: Iso
) -> tuple[Ranking, ...]:
    """Return every pair of neighbours of every figure that was not made equal.

    Args:
        classes: chips that may be ranked together, none destroyed.
        spreads: draws by chip.
        iso: in what as much of every chip is taken as is equal.
    """
    found = []
    for figure in FIGURES:
        if figure == _EQUAL[iso]:
            continue
        for chips in classes:
            found += _neighbours(figure, {c.name: _draws(c, spreads, iso, figure) for c in chips})
    return tuple(found)


def _neighbours(figure: str, draws: Mapping[str, Floats]) -> list[Ranking]:
    sign = -1.0 if figure in LARGEST_IS_BEST else 1.0
    order = sorted(draws, key=lambda name: sign * float(np.median(draws[name])))
    return [
        Ranking(figure, better, worse, _share(sign * draws[better], sign * draws[worse]))
        for better, worse in pairwise(order)
    ]


def _share(better: Floats, worse: Floats) -> float:
    return float(np.mean((better < worse) + 0.5 * (better == worse)))


def _draws(chip: Contender, spreads: Mapping[str, Spread], iso: Iso, figure: str) -> Floats:
    """Return a figure of as much of a chip as is equal, up to a factor that all chips share."""
    spread = spreads[chip.name]
    speed = chip.tokens_per_s / spread.time
    one = {
        "energy_per_token_nj": spread.energy_nj,
        "tokens_per_s": speed,
        "power_w": spread.energy_nj * speed * (FJ_PER_NJ / FJ_PER_J),
        "area_mm2": spread.area_mm2,
    }
    if figure == "energy_per_token_nj":
        return one[figure]
    return np.asarray(one[figure] / one[_EQUAL[iso]])
