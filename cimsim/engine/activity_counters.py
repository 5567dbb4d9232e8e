"""Counters of a run's activity: how much is at work, in flight and resident over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.plan import Plan
from cimsim.engine.raw import RawRun
from cimsim.results import KINDS, Activity, Counter

__all__ = ["counters_of"]

Int64 = NDArray[np.int64]
NONE = -1
WORKS = (KINDS.index("visit"), KINDS.index("write"))


def counters_of(
    plan: Plan, raw: RawRun, activity: Activity, first_server: int
) -> tuple[Counter, ...]:
    """Return the counters of a run as far as its activity is kept.

    Tokens in flight are those of the whole system, counted on its first chip; all others are
    a chip's own.

    Args:
        plan: what ran.
        raw: the engine's logs.
        activity: its slices.
        first_server: track of the first ADC group.
    """
    # Of a whole phase the very end counts, when the last token is complete.
    until = activity.until_ps + int(activity.until_ps == activity.end_ps)
    size = plan.flights.size
    found = [
        _counter(0, ("tokens", "in flight"), until, (raw.enter_ps, size), (raw.done_ps, -size))
    ]
    chip_of_track = np.array([t.chip for t in activity.tracks], dtype=np.int64)
    works = activity.slices[np.isin(activity.slices[:, 2], WORKS)].T
    pes = np.add.reduceat(plan.sites.server_pes, plan.sites.server_tile_ptr[:-1])
    drawing = raw.visits[raw.visits[:, 6] < until].T
    chip_of_site = plan.sites.tiles[plan.sites.tile_ptr[:-1]] // plan.mesh.chip_tiles
    for chip in range(plan.chips):
        own = works[:, chip_of_track[works[0]] == chip]
        count = pes[own[0] - first_server]
        found.append(_counter(chip, ("PEs", "at work"), until, (own[3], count), (own[4], -count)))
        if plan.power_limit_nw:
            mine = drawing[:, chip_of_site[drawing[2]] == chip]
            power = plan.sites.power_nw[mine[2]]
            name = ("power", "of visits, nW")
            found.append(_counter(chip, name, until, (mine[6], power), (mine[8], -power)))
        if len(plan.slots.site):
            found.append(_residents(plan, raw, chip, until, chip_of_site[plan.slots.site]))
    return tuple(c for c in found if len(c.time_ps))


def _residents(plan: Plan, raw: RawRun, chip: int, until: int, chip_of_slot: Int64) -> Counter:
    """Count experts that a chip's slots hold; a load takes away what the slot held before."""
    own = raw.writes[chip_of_slot[raw.writes[:, 0]] == chip].T
    slot, start, end = own[0], own[2], own[6]
    # A slot that was empty at the start has nothing to lose in its first load.
    first = np.zeros(len(slot), dtype=np.bool_)
    first[np.unique(slot, return_index=True)[1]] = True
    lost = -(~(first & (plan.slots.initial[slot] == NONE))).astype(np.int64)
    held = int(np.sum((plan.slots.initial != NONE) & (chip_of_slot == chip)))
    return _counter(
        chip,
        ("experts", "resident"),
        until,
        (np.zeros(1, dtype=np.int64), np.array([held])),
        (start, lost),
        (end, np.ones(len(end), dtype=np.int64)),
    )


def _counter(
    chip: int, name: tuple[str, str], until: int, *changes: tuple[Int64, Int64]
) -> Counter:
    """Sum changes (times, by how much) up to a time."""
    time = np.concatenate([t for t, _ in changes])
    change = np.concatenate([c for _, c in changes])
    moments, index = np.unique(time, return_inverse=True)
    step = np.zeros(len(moments), dtype=np.int64)
    np.add.at(step, index, change)
    value = np.cumsum(step)
    kept = int(np.searchsorted(moments, until))
    moments, value = moments[:kept], value[:kept]
    moved = np.diff(value, prepend=0) != 0
    return Counter(chip, *name, moments[moved], value[moved])
