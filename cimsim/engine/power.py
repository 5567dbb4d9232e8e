"""The power that a site draws while it takes vectors in, for the limit on a chip's power."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from cimsim.chip import Unit, UnitKey
from cimsim.cost import ActionCounts, Density, Ledger
from cimsim.errors import CimsimError

__all__ = ["site_power_nw"]

NW_PER_FJ_PER_PS = 1_000_000


def site_power_nw(cost: Prices, unit: Unit, whole: Unit, interval_ps: int, limit_nw: int) -> int:
    """Return the power of a unit that takes in vectors, in nW.

    Args:
        cost: prices of the chip.
        unit: the matrices of a stage.
        whole: the unit that they belong to, whose energy they share in proportion to cells.
        interval_ps: its initiation interval.
        limit_nw: the chip's limit.

    Raises:
        CimsimError: if this unit alone exceeds the limit.
    """
    ledger = Ledger()
    counts = ActionCounts("prefill", tokens=1, makespan_ps=0, unit_vectors={unit.key: 1})
    cost.charge(ledger, counts, None)
    dynamic = sum(row.energy_fj for row in ledger if row.kind == "dynamic")
    vector_fj = dynamic * unit.cells / whole.cells
    power = round(vector_fj / interval_ps * NW_PER_FJ_PER_PS)
    if power > limit_nw:
        raise CimsimError(
            f"{unit.key} alone draws {power * 1e-9:.3g} W while it works",
            key="chip.power_limit_w",
            value=limit_nw * 1e-9,
            allowed=f"at least {power * 1e-9:.3g} W",
        )
    return power


class Prices(Protocol):
    """What charges actions to a ledger: the cost model."""

    def charge(
        self, ledger: Ledger, counts: ActionCounts, density: Mapping[UnitKey, Density] | None
    ) -> None:
        """Append the energy of one phase."""
