"""What every resource did in a run, from the engine's logs: the input of traces.

Tracks are the resources that serve one thing at a time: the memory channels of a chip, its
digital units, the PEs of its tiles, its slots. PEs that always serve the same sites are one
track. Busy time of a track is that of the resource: a visit takes its vectors in at the
initiation interval and holds its PEs for late inputs longer (`wait`), a digital unit is held
until the operands of its job are there (`wait`).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.activity_counters import counters_of
from cimsim.engine.plan import Plan
from cimsim.engine.raw import EXPERT, KV_NEW, OPERANDS, RawRun
from cimsim.engine.steps import Step
from cimsim.results import KINDS, Activity, Track

__all__ = ["activity_of"]

Int64 = NDArray[np.int64]
NONE = -1
VISIT, WRITE, JOB, MEMORY, SWITCH, WAIT = range(len(KINDS))
MARKS = ("layer", "expert", "tokens", "flight")
WAIT_INPUTS, WAIT_MEMORY, READ_WEIGHTS, READ_EMBEDDINGS, READ_KV, WRITE_KV = range(6)
FIXED_NAMES = (
    "wait for inputs", "wait for memory", "read weights", "read embeddings",
    "read keys and values", "write keys and values",
)  # fmt: skip


class _Tracks:
    """Numbers of tracks.

    Attributes:
        memory, digital, server, slot: number of the first track of each kind of resource.
        all: every track.
    """

    def __init__(self, plan: Plan) -> None:
        sites, mesh, chips = plan.sites, plan.mesh, plan.chips
        units = mesh.n_digital // chips
        self.memory, self.digital = 0, chips
        self.server = chips + mesh.n_digital
        self.slot = self.server + sites.n_servers
        all_ = [Track(c, f"memory channels of chip {c}") for c in range(chips)]
        all_ += [Track(i // units, f"digital unit {i}") for i in range(mesh.n_digital)]
        tiles = [
            sites.server_tile[a:b].tolist() for a, b in pairwise(sites.server_tile_ptr.tolist())
        ]
        all_ += [
            Track(mesh.chip_of_tile(own[0]), f"{_tile_name(own)}, PE group {i}")
            for i, own in enumerate(tiles)
        ]
        all_ += [
            Track(int(sites.tiles[sites.tile_ptr[site]]) // mesh.chip_tiles, f"slot {i}")
            for i, site in enumerate(plan.slots.site.tolist())
        ]
        self.all = tuple(all_)


def _tile_name(tiles: list[int]) -> str:
    if len(tiles) == 1:
        return f"tile {tiles[0]}"
    return f"tiles {tiles[0]} to {tiles[-1]} ({len(tiles)})"


class _Names:
    """Numbers of names: the fixed ones, then those of sites, experts and steps.

    Attributes:
        site, step: number of the first name of a site, and of a step's job.
        visit, write, load, read: number of the first name of what is done with an expert.
        all: every name.
    """

    def __init__(self, plan: Plan) -> None:
        experts = [str(key) for key in plan.copies.expert_units]
        found = list(FIXED_NAMES)
        self.site = len(found)
        found += [" ".join(n.split(" ")[:-1]).removesuffix(" all") for n in plan.sites.names]
        self.visit = len(found)
        found += experts
        self.write, self.load, self.read = (len(found) + k * len(experts) for k in range(3))
        found += [f"{verb} {name}" for verb in ("write", "load", "read") for name in experts]
        self.step = len(found)
        found += [_job_name(step) for step in plan.steps]
        self.all = tuple(found)


def _job_name(step: Step) -> str:
    """Name the operations of a job; products and elementwise work of one use are one."""
    uses = list(step.work.elements)
    if step.kv_layer != NONE:
        uses[1:1] = ["attention", "softmax"]  # after rope
    uses += [use for use in step.work.macs if use not in uses]
    return ", ".join(uses) or "nothing"


class _Slices:
    """Collects slices, of every source no more than can be among the first `limit`.

    Attributes:
        total: slices of each kind, those that are not kept included.
    """

    def __init__(self, limit: int) -> None:
        self._most = limit + 1  # one more says where the first that is left out starts
        self._parts: list[Int64] = []
        self.total = [0] * len(KINDS)

    def earliest(self, start: Int64, end: Int64) -> Int64:
        """Return which of some slices may be kept: those that take time and start first."""
        rows = np.flatnonzero(end > start)
        return rows[np.argsort(start[rows], kind="stable")[: self._most]]

    def add(
        self,
        kind: int,
        total: int,
        track: Int64,
        name: Int64 | int,
        start: Int64,
        end: Int64,
        marks: dict[str, Int64],
    ) -> None:
        """Add slices of one kind.

        Args:
            kind: index into `KINDS`.
            total: how many there are, those that are not kept included.
            track: column of the slices that are kept.
            name: likewise.
            start: likewise.
            end: likewise.
            marks: other columns by name, of `MARKS`.
        """
        self.total[kind] += total
        columns = (track, name, kind, start, end, *(marks.get(k, NONE) for k in MARKS))
        rows = np.broadcast_arrays(*(np.asarray(c, dtype=np.int64) for c in columns))
        self._parts.append(np.stack(rows, axis=1))

    def sorted(self) -> Int64:
        """Return all slices by start, then by track."""
        rows = np.concatenate(self._parts)
        return rows[np.lexsort((rows[:, 0], rows[:, 3]))]


def activity_of(plan: Plan, raw: RawRun, phase: str, limit: int) -> Activity:
    """Return what every resource did.

    Args:
        plan: what ran.
        raw: the engine's logs; without logs nothing is kept.
        phase: its name.
        limit: slices to keep, the first.
    """
    tracks, names, found = _Tracks(plan), _Names(plan), _Slices(limit)
    for add in (_add_visits, _add_jobs, _add_memory, _add_loads):
        add(plan, raw, tracks, names, found)
    activity = Activity(
        phase=phase,
        chips=plan.chips,
        tracks=tracks.all,
        names=names.all,
        slices=found.sorted(),
        counters=(),
        total=tuple(found.total),
        until_ps=raw.end_ps if len(raw.jobs) else 0,
        end_ps=raw.end_ps,
    ).first(limit)
    return replace(activity, counters=counters_of(plan, raw, activity, tracks.server))


def _layers(plan: Plan) -> Int64:
    return np.array([step.layer for step in plan.steps], dtype=np.int64)


def _servers_of(plan: Plan, site: Int64) -> tuple[Int64, Int64]:
    """Return row and server of every server of the site of every row."""
    pointer = plan.sites.server_ptr
    count = pointer[site + 1] - pointer[site]
    row = np.repeat(np.arange(len(site)), count)
    within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    return row, plan.sites.servers[pointer[site][row] + within]


def _add_visits(plan: Plan, raw: RawRun, tracks: _Tracks, names: _Names, found: _Slices) -> None:
    """Add vectors that PEs take in, and PEs that wait for late vectors."""
    flight, step, site, expert, vectors, _, start, _, taken = raw.visits.T
    busy = start + plan.sites.interval_ps[site] * vectors
    count = np.diff(plan.sites.server_ptr)[site]
    layer, title = (
        _layers(plan)[step],
        np.where(expert < 0, names.site + site, names.visit + expert),
    )
    number = np.where(expert < 0, NONE, expert % max(1, plan.n_experts))
    for kind, low, high in ((VISIT, start, busy), (WAIT, busy, taken)):
        rows = found.earliest(low, high)
        at, server = _servers_of(plan, site[rows])
        rows = rows[at]
        marks = {
            "layer": layer[rows], "expert": number[rows], "tokens": vectors[rows],
            "flight": flight[rows],
        }  # fmt: skip
        name = title[rows] if kind == VISIT else WAIT_INPUTS
        total = int(count[high > low].sum())
        found.add(kind, total, tracks.server + server, name, low[rows], high[rows], marks)


def _add_jobs(plan: Plan, raw: RawRun, tracks: _Tracks, names: _Names, found: _Slices) -> None:
    """Add jobs of digital units, and units that wait for operands from memory."""
    unit, flight, step, start, end = raw.jobs.T
    size, row = plan.flights.size[flight], plan.step.attention[step]
    work = plan.step.job_ps[step, size]
    attends = row != NONE
    work[attends] = plan.step.attention_ps[row[attends], flight[attends]]
    layer = _layers(plan)[step]
    for kind, low, high in ((JOB, start, start + work), (WAIT, start + work, end)):
        rows = found.earliest(low, high)
        marks = {"layer": layer[rows], "tokens": size[rows], "flight": flight[rows]}
        name = names.step + step[rows] if kind == JOB else WAIT_MEMORY
        total = int(np.sum(high > low))
        found.add(kind, total, tracks.digital + unit[rows], name, low[rows], high[rows], marks)


def _add_memory(plan: Plan, raw: RawRun, tracks: _Tracks, names: _Names, found: _Slices) -> None:
    """Add transfers on memory channels; what a job asks for together comes one by one."""
    of_use = [raw.memory[raw.memory[:, 1] == use].T for use in (OPERANDS, KV_NEW, EXPERT)]
    chip, _, flight, step, start, _ = of_use[OPERANDS]
    size = plan.flights.size[flight]
    parts = (
        (READ_WEIGHTS, plan.memory.stream_ps[step]),
        (READ_EMBEDDINGS, np.where(step == 0, plan.memory.embed_ps[size], 0)),
        (READ_KV, np.where(plan.step.kv[step] != NONE, plan.memory.kv_read_ps[flight], 0)),
    )
    transfers = []
    for name, length in parts:
        transfers.append((name, chip, flight, step, start, start + length))
        start = start + length
    chip, _, flight, step, start, end = of_use[KV_NEW]
    transfers.append((WRITE_KV, chip, flight, step, start, end))
    layer = _layers(plan)
    for name, chip, flight, step, start, whole in transfers:
        end = np.minimum(whole, raw.end_ps)
        rows = found.earliest(start, end)
        size = plan.flights.size[flight[rows]]
        marks = {"layer": layer[step[rows]], "tokens": size, "flight": flight[rows]}
        track, total = tracks.memory + chip[rows], int(np.sum(end > start))
        found.add(MEMORY, total, track, name, start[rows], end[rows], marks)
    chip, _, expert, _, start, whole = of_use[EXPERT]
    end = np.minimum(whole, raw.end_ps)
    rows = found.earliest(start, end)
    track, total = tracks.memory + chip[rows], int(np.sum(end > start))
    marks = _expert_marks(plan, expert[rows])
    found.add(MEMORY, total, track, names.read + expert[rows], start[rows], end[rows], marks)


def _expert_marks(plan: Plan, expert: Int64) -> dict[str, Int64]:
    layer = np.array([key.layer for key in plan.copies.expert_units], dtype=np.int64)
    return {"layer": layer[expert], "expert": expert % max(1, plan.n_experts)}


def _add_loads(plan: Plan, raw: RawRun, tracks: _Tracks, names: _Names, found: _Slices) -> None:
    """Add loads of slots, and the writes of their cells."""
    slot, expert, start, _, _, write, whole = raw.writes.T
    end = np.minimum(whole, raw.end_ps)
    rows = found.earliest(start, end)
    marks, total = _expert_marks(plan, expert[rows]), int(np.sum(end > start))
    track = tracks.slot + slot[rows]
    found.add(SWITCH, total, track, names.load + expert[rows], start[rows], end[rows], marks)
    rows = found.earliest(write, end)
    at, server = _servers_of(plan, plan.slots.site[slot[rows]])
    rows = rows[at]
    count = np.diff(plan.sites.server_ptr)[plan.slots.site[slot]]
    marks, total = _expert_marks(plan, expert[rows]), int(count[end > write].sum())
    track = tracks.server + server
    found.add(WRITE, total, track, names.write + expert[rows], write[rows], end[rows], marks)
