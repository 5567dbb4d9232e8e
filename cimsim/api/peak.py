"""``cimsim.peak``: peak figures of chips with a stated number of tiles, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cimsim.api.call_result import CallResult
from cimsim.api.chip import Chips, chips_of, load_chip
from cimsim.api.overrides import Overrides
from cimsim.cost.peak import peak as peak_of
from cimsim.cost.peak_report import as_dict

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Peaks", "peak"]


@dataclass(frozen=True)
class Peaks(CallResult):
    """Peak figures of chips.

    Attributes:
        reports: one per chip, as ``cimsim peak --json`` prints them: TOPS, TOPS/W, TOPS/mm2,
            power and area by component with their sources, what is not modelled.
    """

    reports: tuple[dict[str, Any], ...]

    @property
    def title(self) -> str:
        """The chips."""
        return f"peak of {', '.join(str(r['config']) for r in self.reports)}"

    @property
    def notes(self) -> Sequence[str]:
        """Peaks that air does not cool."""
        return [f"{r['config']}: {w}" for r in self.reports for w in r["warnings"]]

    def to_frame(self) -> DataFrame:
        """Return a row per chip: every figure that is one number or word."""
        from pandas import DataFrame  # noqa: PLC0415 - half a second that only tables need

        plain = (str, int, float)
        rows = [
            {k: v for k, v in r.items() if v is None or isinstance(v, plain)} for r in self.reports
        ]
        return DataFrame(rows)


def peak(chips: Chips, *, overrides: Overrides | None = None) -> Peaks:
    """Return peak TOPS, TOPS/W, TOPS/mm2, and power and area by component.

    Args:
        chips: names (also of published chips), files or loaded chips, one or several.
        overrides: knobs of every chip, ``{"chip.tiles": 64}``.

    Raises:
        CimsimError: if there is no such chip, or it has no peak.
    """
    return Peaks(tuple(as_dict(peak_of(load_chip(chip, overrides))) for chip in chips_of(chips)))
