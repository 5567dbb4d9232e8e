"""What a report shows beside the chips of a run: digital baselines, as rows."""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.results import Row

__all__ = ["NO_BASELINES", "BesideChips"]


@dataclass(frozen=True)
class BesideChips:
    """Baselines that a report shows.

    Attributes:
        shape: model that they decode.
        rows: a row per baseline and batch.
        notes: sources, and what is assumed.
    """

    shape: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


NO_BASELINES = BesideChips("", (), ())
"""A report of chips alone."""
