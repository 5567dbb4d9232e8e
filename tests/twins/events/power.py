"""The power limit in plain Python."""

from __future__ import annotations

from bisect import insort

__all__ = ["PowerBudget"]


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
