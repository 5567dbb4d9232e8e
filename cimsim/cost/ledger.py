"""The energy ledger: append-only rows whose sum is every total.

Each joule is booked once, under a component and a phase. Nothing is stored but rows;
totals, shares and breakdowns are computed from them, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import fsum, isfinite
from typing import TYPE_CHECKING, Literal

from cimsim.errors import CimsimInternalError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Ledger", "LedgerRow"]

Kind = Literal["dynamic", "leakage", "off_chip"]


@dataclass(frozen=True)
class LedgerRow:
    """One entry.

    Attributes:
        component: what spent the energy.
        phase: prefill, decode, programming, calibration or idle.
        count: actions counted (for leakage and table powers: nanoseconds).
        energy_fj_per_action: energy of one of them; the mean where it depends on data.
        energy_fj: energy of the row.
        kind: dynamic, leakage or off_chip (DRAM and chip I/O).
        source: where the unit energy comes from.
    """

    component: str
    phase: str
    count: float
    energy_fj_per_action: float
    energy_fj: float
    kind: Kind
    source: str


class Ledger:
    """Rows in the order in which they were charged."""

    def __init__(self) -> None:
        self._rows: list[LedgerRow] = []

    def __iter__(self) -> Iterator[LedgerRow]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self,
        component: str,
        phase: str,
        count: float,
        energy_fj_per_action: float,
        *,
        kind: Kind = "dynamic",
        source: str,
    ) -> None:
        """Append one row; energy = count x energy per action.

        Raises:
            CimsimInternalError: if the energy is negative or not finite.
        """
        energy = count * energy_fj_per_action
        if not isfinite(energy) or energy < 0 or count < 0:
            message = f"{component}: {count} actions of {energy_fj_per_action} fJ in {phase}"
            raise CimsimInternalError(message)
        row = LedgerRow(
            component, phase, count, float(energy_fj_per_action), float(energy), kind, source
        )
        self._rows.append(row)

    def total_fj(
        self,
        *,
        phase: str | None = None,
        component: str | None = None,
        kind: Kind | None = None,
        off_chip: bool = True,
    ) -> float:
        """Return the energy of all rows that match.

        Args:
            phase: only this phase.
            component: only this component.
            kind: only this kind.
            off_chip: whether DRAM and chip I/O count.
        """
        return fsum(
            row.energy_fj
            for row in self._rows
            if phase in (None, row.phase)
            and component in (None, row.component)
            and kind in (None, row.kind)
            and (off_chip or row.kind != "off_chip")
        )

    def by_component(self, *, phase: str | None = None) -> dict[str, float]:
        """Return energy in fJ by component, in the order of first charge."""
        return self._grouped(lambda row: row.component, phase)

    def by_kind(self, *, phase: str | None = None) -> dict[str, float]:
        """Return energy in fJ of dynamic, leakage and off_chip rows."""
        found = self._grouped(lambda row: row.kind, phase)
        return {kind: found.get(kind, 0.0) for kind in ("dynamic", "leakage", "off_chip")}

    def frame(self) -> pd.DataFrame:
        """Return the rows as a tidy table, one row per entry."""
        import pandas as pd  # noqa: PLC0415 - a tenth of a second that most callers do not need

        columns = list(LedgerRow.__dataclass_fields__)
        return pd.DataFrame(
            [[getattr(row, c) for c in columns] for row in self._rows], columns=columns
        )

    def _grouped(self, key: Callable[[LedgerRow], str], phase: str | None) -> dict[str, float]:
        parts: dict[str, list[float]] = {}
        for row in self._rows:
            if phase in (None, row.phase):
                parts.setdefault(key(row), []).append(row.energy_fj)
        return {name: fsum(values) for name, values in parts.items()}
