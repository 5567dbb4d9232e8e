"""A limit on the power of crossbars active at once.

A visit draws the power of its site (energy a vector over the initiation interval) from when
its first vector goes in until its last has been taken in. Where the sum would exceed the
limit, the visit starts later: at the first end of another visit after which there is room.
Visits that have a start reserved count from their reservation on, so the limit holds at
every moment, and earlier arrivals are never delayed by later ones. Where the end of a visit is
not known when it starts (`PowerGate`), visits wait in line instead.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

from cimsim.chip import Unit, UnitKey
from cimsim.cost import ActionCounts, Density, Ledger
from cimsim.errors import CimsimError

__all__ = ["PowerBudget", "PowerGate", "site_power_nw"]

NW_PER_FJ_PER_PS = 1_000_000
Job = TypeVar("Job")


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


class PowerBudget:
    """Visits that draw power, in order of their end."""

    def __init__(self, limit_nw: int) -> None:
        self._limit = limit_nw
        self._ends: list[tuple[int, int]] = []

    def start_ps(self, now_ps: int, wanted_ps: int, power_nw: int) -> int:
        """Return when a visit may start.

        Args:
            now_ps: the time.
            wanted_ps: when it could start otherwise.
            power_nw: what it draws.
        """
        done = 0
        while done < len(self._ends) and self._ends[done][0] <= now_ps:
            done += 1
        del self._ends[:done]
        drawn = sum(power for _, power in self._ends)
        start = wanted_ps
        for end, power in self._ends:
            if end > start and drawn + power_nw <= self._limit:
                break
            drawn -= power
            start = max(start, end)
        return start

    def reserve(self, end_ps: int, power_nw: int) -> None:
        """Note that a visit draws power until `end_ps`."""
        insort(self._ends, (end_ps, power_nw))


class PowerGate(Generic[Job]):
    """The same limit where nobody knows when a visit ends: first come first served.

    Args:
        limit_nw: the chip's limit, 0 for none.
    """

    def __init__(self, limit_nw: int) -> None:
        self._limit, self._drawn = limit_nw, 0
        self.line: deque[tuple[Job, int]] = deque()

    def ask(self, job: Job, power_nw: int) -> bool:
        """Let a job draw power, or put it in line; return whether it may start."""
        if self._limit and (self.line or self._drawn + power_nw > self._limit):
            self.line.append((job, power_nw))
            return False
        self._drawn += power_nw
        return True

    def end(self, power_nw: int) -> list[Job]:
        """Note that a job draws power no more; return those that may start now, in order."""
        self._drawn -= power_nw
        started = []
        while self.line and self._drawn + self.line[0][1] <= self._limit:
            job, power = self.line.popleft()
            self._drawn += power
            started.append(job)
        return started
