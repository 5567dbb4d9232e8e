"""How far a value may be from the stored one.

On a processor whose floating-point sums are those of the one that stored the values (`arithmetic`
says so), everything is equal. Elsewhere float32 sums of a BLAS differ in their last digits, and
so may the experts of a token whose scores nearly tie: the table says by how much each class of
columns may differ where all tokens of a subject go to the same experts, and where some do not.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tests.golden.rows import Value, Values

__all__ = ["TOLERANCES", "Closeness", "Tolerance", "arithmetic", "rerouted", "within"]

ROUNDING = 1e-9
"""Relative: the last of the ten digits that a table prints."""

Closeness = Literal["equal", "same routing", "other routing"]
"""What may be asked: the same arithmetic, or another one."""


@dataclass(frozen=True)
class Tolerance:
    """Difference that a class of columns may have on another processor.

    Attributes:
        columns: pattern of their golden names.
        same: share of the larger of both values, where tokens go to the same experts.
        other: the same where some go to others.
        floor: absolute difference that is nothing.
        why: the reason.
    """

    columns: str
    same: float
    other: float
    floor: float
    why: str


ROUTING = r"share_.*|topk_agreement.*|expert_load_.*|experts"
TOLERANCES = (
    Tolerance(ROUTING, ROUNDING, 0.25, 0.0, "shares and statistics of few tokens"),
    Tolerance(r"ppl_.*", 2e-3, 2e-2, 0.0, "float32 sums of a BLAS"),
    Tolerance(r".*_nats", 5e-3, 0.25, 1e-3, "differences of such losses"),
    Tolerance(r".*clip_rate", 2e-2, 0.25, 1e-3, "few conversions at the end of a range"),
    Tolerance(r".*", 1e-6, 5e-2, 0.0, "times and energies: float64 sums of counts"),
)
"""The first class that fits a column holds."""


def arithmetic() -> str:
    """Return a digest of what sums and transcendental functions give on this processor."""
    draw = np.random.Generator(np.random.Philox(5))
    found = hashlib.sha256()
    for kind in (np.float32, np.float64):
        a, b = (draw.standard_normal((n, 300)).astype(kind) for n in (65, 257))
        for result in (a @ b.T, a[:1] @ b.T, a[0] @ a[1], a.sum(axis=1), np.exp(a), np.cos(a)):
            found.update(np.ascontiguousarray(result).tobytes())
        for function in (math.exp, math.cos, math.atan):
            found.update(np.array([function(v) for v in a.ravel()]).tobytes())
    return found.hexdigest()[:16]


def rerouted(stored: Values, found: Values) -> bool:
    """Return whether a column says that some token went to another expert than it did."""
    return any(
        re.fullmatch(ROUTING, column)
        and column in found.get(name, {})
        and not within(column, value, found[name][column], "same routing")
        for name, row in stored.items()
        for column, value in row.items()
    )


def within(column: str, stored: Value, found: Value, asked: Closeness) -> bool:
    """Return whether a value may stand for the stored one.

    Args:
        column: golden name of its column.
        stored: what was stored.
        found: what was found.
        asked: how close it must be.
    """
    moved = asked == "other routing"
    if isinstance(stored, bool | str | None) or isinstance(found, bool | str | None):
        # Where tokens go elsewhere another resource may be the busiest.
        texts = isinstance(stored, str) and isinstance(found, str)
        return (texts and moved) or (type(stored) is type(found) and stored == found)
    if isinstance(stored, int) and isinstance(found, int) and not moved:
        return stored == found
    limit = next(t for t in TOLERANCES if re.fullmatch(t.columns, column))
    share = {"equal": ROUNDING, "same routing": limit.same, "other routing": limit.other}[asked]
    floor = 0.0 if asked == "equal" else limit.floor
    return abs(stored - found) <= max(share * max(abs(stored), abs(found)), floor)
