"""``cimsim.peak``: peak figures of chips with a stated number of tiles, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cimsim.api.call_result import CallResult
from cimsim.api.chip import Chips, chips_of, load_chip
from cimsim.api.overrides import Overrides, set_texts
from cimsim.cost.peak import peak as peak_of
from cimsim.cost.peak_report import as_dict
from cimsim.stages.workload_point import workload_point

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Peaks", "peak", "peak_sweep"]


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


def peak(
    chips: Chips,
    *,
    overrides: Overrides | None = None,
    shape: str | None = None,
    batch: int = 1,
) -> Peaks:
    """Return peak TOPS, TOPS/W, TOPS/mm2, and power and area by component.

    Args:
        chips: names (also of published chips), files or loaded chips, one or several.
        overrides: knobs of every chip, ``{"chip.tiles": 64}``.
        shape: workload that each chip, fitted to it, is timed and charged on beside its peak.
        batch: tokens of the workload at once.

    Raises:
        CimsimError: if there is no such chip or shape, or the chip has no peak.
    """
    found = []
    for chip in chips_of(chips):
        config = load_chip(chip, overrides)
        report = as_dict(peak_of(config))
        if shape is not None:
            report["workload"] = workload_point(config, shape, batch).as_dict()
        found.append(report)
    return Peaks(tuple(found))


def peak_sweep(
    chips: Chips,
    knob: str,
    values: Sequence[str],
    *,
    overrides: Overrides | None = None,
    shape: str | None = None,
    batch: int = 1,
) -> Peaks:
    """Return the peak of every chip at every value of a knob: a VDD or register sweep.

    Args:
        chips: as of `peak`.
        knob: dotted path.
        values: as ``--set`` takes them.
        overrides: other knobs of every chip.
        shape: workload beside every peak.
        batch: tokens of the workload at once.

    Raises:
        CimsimError: as `peak`, or if a value is none of the knob.
    """
    fixed, found = set_texts(overrides), []
    for chip in chips_of(chips):
        for value in values:
            knobs = (*fixed, f"{knob}={value}")
            (report,) = peak([chip], overrides=knobs, shape=shape, batch=batch).reports
            found.append({**report, "knob": knob, "value": value})
    return Peaks(tuple(found))
