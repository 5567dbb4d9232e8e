"""Tracks of a trace in groups that are read at a glance: what decides first, the rest below.

Of a system with more than `FIRST_VIEW` tracks a viewer shows memory channels, digital units and
the busiest others first, in all at most so many rows with the links that are shown, and the
rest in a group of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cimsim.results.activity import END, KIND, KINDS, START, TRACK, Activity

__all__ = ["FIRST_VIEW", "TrackGroup", "groups_of"]

FIRST_VIEW = 20
FIRST = ("memory channels", "digital unit")
WAIT = KINDS.index("wait")


@dataclass(frozen=True)
class TrackGroup:
    """Tracks that stand together.

    Attributes:
        chip: of the system.
        name: what is in it, "" for all of a chip.
        tracks: numbers of tracks, in the order in which they are shown.
    """

    chip: int
    name: str
    tracks: tuple[int, ...]


def groups_of(activity: Activity) -> list[TrackGroup]:
    """Return the groups of every chip; those of a chip with few tracks are one."""
    slices = activity.slices
    working = slices[slices[:, KIND] != WAIT]
    busy = np.bincount(
        working[:, TRACK],
        weights=(working[:, END] - working[:, START]).astype(np.float64),
        minlength=len(activity.tracks),
    )
    shown = np.unique(slices[:, TRACK]).tolist()
    found = []
    for chip in range(activity.chips):
        own = [t for t in shown if activity.tracks[t].chip == chip]
        if len(own) <= FIRST_VIEW:
            found.append(TrackGroup(chip, "", tuple(own)))
            continue
        links = sum(link.chip == chip for link in activity.links)
        head = [t for t in own if activity.tracks[t].name.startswith(FIRST)]
        head = sorted(sorted(head, key=lambda t: -busy[t])[: FIRST_VIEW // 2])
        rest = sorted(set(own) - set(head), key=lambda t: (-busy[t], t))
        room = FIRST_VIEW - len(head) - links
        found += [
            TrackGroup(chip, "memory, digital units", tuple(head)),
            TrackGroup(chip, "busiest others", tuple(rest[:room])),
            TrackGroup(chip, "all others", tuple(sorted(rest[room:]))),
        ]
    return [group for group in found if group.tracks or not group.name]
