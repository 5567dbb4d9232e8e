"""How far a cost model may be off: by class of constant, carried to a figure in paired draws.

Every constant is in one of three classes, each with a standard deviation of its logarithm:

    sourced   read in a source (confidence A or B) and used at its node, or the chip file's own
    scaled    read in a source, and carried to another node by a scaling law
    assumed   recalled or derived (confidence C or D)

The deviations are derived from the published figures that the model is checked against
(`cimsim published`), from e = ln(model / published):

    sourced   root mean square of e over figures that constants of a source were summed up or
              set for (identity, structural, fitted)
    scaled    the same over figures predicted on a fitted family: another supply, size or
              precision than those that a constant was set at
    assumed   the largest e of any figure of these, a lower bound of what an assumption may be off

Whole chips that were described from their published inputs alone are missed by more (a median
factor of 2.1, `cimsim.cost.from_scratch`), since a description and what no model holds are wrong
there too: that is no property of a constant, and comes on top of these intervals.

A draw multiplies each constant by exp(sigma z), z standard normal and a function of the
constant's name: chips that share a constant move together, so that chips are compared draw by
draw. A price is taken to be as unsure as the least sure of its constants and to move with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import log1p, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cimsim.cost.constant import Constant
from cimsim.cost.validation import CheckResult
from cimsim.elementary_arrays import exp_of
from cimsim.rng import derive_key, normals_at

__all__ = [
    "DRAWS",
    "SIGMA",
    "Quantity",
    "Unsure",
    "class_of",
    "derive_sigma",
    "factors",
    "governing",
]

Trust = Literal["sourced", "scaled", "assumed"]
Quantity = Literal["energy", "area", "leakage"]
Floats = NDArray[np.float64]

SIGMA: Mapping[Trust, float] = {"sourced": 0.03, "scaled": 0.09, "assumed": 0.28}
"""Standard deviation of the logarithm; `derive_sigma` gives them, and a test compares."""
DRAWS = 2000
_PURPOSE = 0x5E7
_EVIDENCE: Mapping[Trust, tuple[str, ...]] = {
    "sourced": ("identity", "structural", "fitted"),
    "scaled": ("predicted_family",),
    "assumed": ("predicted",),
}


@dataclass(frozen=True)
class Unsure:
    """What a figure is unsure with.

    Attributes:
        name: of the constant; chips with the same name move together.
        trust: its class.
    """

    name: str
    trust: Trust


def derive_sigma(results: Iterable[CheckResult]) -> dict[Trust, float]:
    """Return the deviation of every class from checks of published figures."""
    errors = [(r.check.kind, log1p(r.error)) for r in results if r.error is not None]
    largest = max(abs(e) for _, e in errors)
    found = {}
    for trust, kinds in _EVIDENCE.items():
        mine = [e for kind, e in errors if kind in kinds]
        found[trust] = sqrt(sum(e * e for e in mine) / len(mine)) if mine else largest
    return found


def class_of(constant: Constant, node_nm: float) -> Trust:
    """Return the class of a constant on a chip of a node."""
    if constant.confidence in {"C", "D"}:
        return "assumed"
    return "sourced" if constant.node_nm in {None, node_nm} else "scaled"


def governing(
    constants: Sequence[Constant], quantity: Quantity, node_nm: float, own: str
) -> Unsure:
    """Return what a price is unsure with: the least sure constant, the first of several.

    Args:
        constants: of a price.
        quantity: the part of the price; constants of other parts do not count.
        node_nm: of the chip.
        own: name of the chip's own number, which it is where no constant is of this quantity.
    """
    mine = sorted((c for c in constants if _quantity(c) == quantity), key=lambda c: c.key)
    if not mine:
        return Unsure(own, "sourced")
    worst = max(mine, key=lambda c: SIGMA[class_of(c, node_nm)])
    return Unsure(worst.key, class_of(worst, node_nm))


def _quantity(constant: Constant) -> Quantity:
    """Return what a constant is of, by its name: areas and leakages are called so."""
    name = constant.key.rpartition(".")[2]
    if "area" in name:
        return "area"
    return "leakage" if "leak" in name else "energy"


def factors(unsure: Unsure) -> Floats:
    """Return what a constant is multiplied by in each draw, [DRAWS]."""
    digest = sha256(unsure.name.encode("utf-8")).digest()
    words = (int.from_bytes(digest[i : i + 4], "little") for i in (0, 4, 8))
    z = normals_at(DRAWS, (0, 0, 0), derive_key(_PURPOSE, *words)).astype(np.float64)
    return exp_of(SIGMA[unsure.trust] * z)
