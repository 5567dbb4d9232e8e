"""Ages at which the conductances of a run are evaluated.

Drift is a power law of (age + t0), so that equal steps of its logarithm change conductances
equally: by the drift exponent times the step. A crossbar that was `reference` seconds old
when its conductances were last known is evaluated at the age nearest to its true one of

    (reference + t0) exp(k step) - t0,   k = 0, 1, 2, ...

so that conductances are off by at most the exponent times half a step, relative. The age is
a pure function of the true one: neither the order of reads nor their number matters.
"""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.config import Tile
from cimsim.elementary import exp, log
from cimsim.mac.cells import first_read_s

__all__ = ["AgeGrid"]


@dataclass(frozen=True)
class AgeGrid:
    """Steps of age for cells that drift.

    Attributes:
        t0_s: time of the first read after programming.
        step: of ln(age + t0); 0 evaluates every age itself.
    """

    t0_s: float
    step: float

    @classmethod
    def of(cls, tile: Tile, step: float) -> AgeGrid | None:
        """Return the grid of a tile, None if its cells keep what they hold."""
        if tile.crossbar.kind == "digital":
            return None
        t0_s = first_read_s(tile)
        return None if t0_s is None else cls(t0_s, step)

    def snap(self, reference_s: float, age_s: float) -> float:
        """Return the age to evaluate; `reference_s` itself while that is the nearest."""
        if age_s == reference_s or not self.step:
            return age_s
        k = round(log((age_s + self.t0_s) / (reference_s + self.t0_s)) / self.step)
        return reference_s if k == 0 else (reference_s + self.t0_s) * exp(k * self.step) - self.t0_s

    def still(self, reference_s: float, age_s: float) -> bool:
        """Whether all ages from `reference_s` to `age_s` are evaluated at `reference_s`."""
        return self.snap(reference_s, age_s) == reference_s
