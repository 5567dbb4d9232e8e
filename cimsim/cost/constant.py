"""A published number: value, unit, source, node and how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Confidence", "Constant"]

Confidence = Literal["A", "B", "C", "D"]


@dataclass(frozen=True)
class Constant:
    """One constant of a cost model.

    Attributes:
        key: dotted name, ``component.quantity``.
        value: the number as published.
        unit: its unit.
        source: where it stands.
        node_nm: technology node it belongs to; None if it has none.
        confidence: A read in the primary source, B secondary or code that encodes it,
            C recalled and arithmetically closed, D derived.
        note: scaling, range or caveat.
    """

    key: str
    value: float
    unit: str
    source: str
    node_nm: float | None
    confidence: Confidence
    note: str = ""

    def cite(self) -> str:
        """Return source, node and confidence on one line."""
        node = "" if self.node_nm is None else f", {self.node_nm:g} nm"
        return f"{self.source}{node} ({self.confidence})"
