"""What a simulated chip did, and when: slices of time on its resources, and counters.

The engine fills it in, the trace shows it. A slice is one piece of work of one resource;
slices of a track never overlap. Those of kind `wait` are time for which a resource is held
without working; the others add up to its busy time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimInternalError

__all__ = ["KINDS", "SLICE_FIELDS", "Activity", "Counter", "LinkUse", "Track"]

Int64 = NDArray[np.int64]

KINDS = ("visit", "write", "job", "memory", "switch", "wait")
"""Vectors through crossbars; cells written; jobs of digital units; transfers on memory
channels; loads of slots, from asking for weights to written; waiting."""
SLICE_FIELDS = (
    "track", "name", "kind", "start_ps", "end_ps", "layer", "expert", "tokens", "flight",
)  # fmt: skip
"""Columns of `Activity.slices`; -1 where a slice has no layer, expert, tokens or flight."""
TRACK, NAME, KIND, START, END, LAYER, EXPERT, TOKENS, FLIGHT = range(9)


@dataclass(frozen=True)
class Track:
    """One resource.

    Attributes:
        chip: chip of the system that it is on.
        name: unique on its chip.
    """

    chip: int
    name: str


@dataclass(frozen=True)
class Counter:
    """A number that changes in steps.

    Attributes:
        chip: chip of the system that it belongs to.
        name: of what, such as "experts".
        series: what about them, such as "resident".
        time_ps: [changes], rising.
        value: [changes], from that time on.
    """

    chip: int
    name: str
    series: str
    time_ps: Int64
    value: Int64


@dataclass(frozen=True)
class LinkUse:
    """One of the busiest links of the network.

    Attributes:
        chip: chip of the system that it leaves.
        name: where it is.
        share: of the phase in which it is busy.
    """

    chip: int
    name: str
    share: float


@dataclass(frozen=True)
class Activity:
    """Activity of one phase on one system.

    Attributes:
        phase: prefill, or decode_b<batch>.
        chips: chips of the system.
        tracks: in the order in which they are shown.
        names: names of slices.
        slices: int64 [slices, 9], columns `SLICE_FIELDS`, by start; every slice that starts
            before `until_ps`, whole.
        counters: their changes before `until_ps`.
        total: slices of each of `KINDS` in the whole phase.
        until_ps: end of the time that is kept, 0 if the engine kept no log.
        end_ps: end of the phase.
        from_ps: begin of the time that is kept.
        links: the busiest links, over the whole phase.
    """

    phase: str
    chips: int
    tracks: tuple[Track, ...]
    names: tuple[str, ...]
    slices: Int64
    counters: tuple[Counter, ...]
    total: tuple[int, ...]
    until_ps: int
    end_ps: int
    from_ps: int = 0
    links: tuple[LinkUse, ...] = ()

    def __post_init__(self) -> None:
        start, end = self.slices[:, START], self.slices[:, END]
        if (end < start).any() or (np.diff(start) < 0).any() or (start >= self.until_ps).any():
            message = "slices of an activity must come by start, in its time, and end after it"
            raise CimsimInternalError(message)

    def between(self, from_ps: int, until_ps: int) -> Activity:
        """Return what happens in a window: slices that lie in it or reach into it, whole."""
        until = min(until_ps, self.until_ps)
        start, end = self.slices[:, START], self.slices[:, END]
        counters = []
        for counter in self.counters:
            first = max(0, int(np.searchsorted(counter.time_ps, from_ps, side="right")) - 1)
            last = int(np.searchsorted(counter.time_ps, until))
            time, value = counter.time_ps[first:last], counter.value[first:last]
            counters.append(replace(counter, time_ps=time, value=value))
        kept = self.slices[(end > from_ps) & (start < until)]
        return replace(self, slices=kept, counters=tuple(counters), from_ps=from_ps, until_ps=until)

    def first(self, limit: int) -> Activity:
        """Return the activity up to the time that the first `limit` slices start before."""
        if len(self.slices) <= limit:
            return self
        until = int(self.slices[limit, START])
        counters = []
        for counter in self.counters:
            kept = int(np.searchsorted(counter.time_ps, until))
            time, value = counter.time_ps[:kept], counter.value[:kept]
            counters.append(replace(counter, time_ps=time, value=value))
        kept = int(np.searchsorted(self.slices[:, START], until))
        return replace(self, slices=self.slices[:kept], counters=tuple(counters), until_ps=until)
