"""Scheduling: the heap of events, and the memory channels that all sides use."""

from __future__ import annotations

from typing import cast

import numpy as np

from cimsim.engine.events.machine import Machine
from cimsim.engine.noc.kernel import inlined, inner
from cimsim.engine.raw import MEMORY_USES

__all__ = [
    "ARRIVAL", "BACK", "BEGIN", "EXPERT", "FINISH", "JOB_END", "KINDS", "KIND_BITS", "KV_NEW",
    "OPERANDS", "ROOM", "STAGE_DONE", "START", "VISIT", "WEIGHTS", "WRITTEN", "pop", "push",
    "take_memory",
]  # fmt: skip

NONE = -1
KIND_BITS = 4
KINDS = 1 << KIND_BITS
"""Room for kinds in an event's number."""
(
    START, ARRIVAL, STAGE_DONE, JOB_END, VISIT, ROOM, WEIGHTS, WRITTEN, BEGIN, FINISH, BACK,
) = (cast("int", np.int64(k)) for k in range(11))  # fmt: skip
"""Kinds of events: the run starts; a stream arrives; a flight is back at its digital unit, or its
job there is done; the first vectors of a visit are at its tiles; a buffer has room again; weights
are at a slot (at the flit level: fetched), or written. At the flit level alone: a visit begins, its
last result is ready, the last result of a flight's stage is back. Not literals (`noc.kernel`)."""
OPERANDS, KV_NEW, EXPERT = (cast("int", np.int64(k)) for k in range(len(MEMORY_USES)))
"""Uses of memory."""


@inner
def push(x: Machine, time_ps: int, kind: int, argument: int) -> None:
    """Schedule an event: a binary heap ordered by time, then by order of scheduling."""
    now, heap = x.now[0], x.heap
    now.events += 1
    if x.fixed[0].most_events != NONE and now.events > x.fixed[0].most_events:
        now.failed = 1
    at = now.heaped
    now.heaped += 1
    while at > 0:
        parent = (at - 1) >> 1
        if heap[parent].time_ps <= time_ps:  # equal times: the parent was scheduled earlier
            break
        heap[at] = heap[parent]
        at = parent
    heap[at].time_ps, heap[at].sequence = time_ps, now.sequence
    heap[at].what = (argument << KIND_BITS) + kind
    now.sequence += 1


@inlined
def pop(x: Machine) -> None:
    """Remove the first event."""
    heap = x.heap
    x.now[0].heaped -= 1
    n = x.now[0].heaped
    moved, at = heap[n], 0
    while True:
        child = 2 * at + 1
        if child >= n:
            break
        other = child + 1
        if other < n and (
            heap[other].time_ps < heap[child].time_ps
            or (
                heap[other].time_ps == heap[child].time_ps
                and heap[other].sequence < heap[child].sequence
            )
        ):
            child = other
        if heap[child].time_ps > moved.time_ps or (
            heap[child].time_ps == moved.time_ps and heap[child].sequence > moved.sequence
        ):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = moved


@inner
def take_memory(x: Machine, chip: int, occupied_ps: int, use: int, owner: int, step: int) -> int:
    """Reserve the memory channels of a chip and return when the last byte leaves them."""
    row, now = x.chip[chip], x.now[0]
    start = max(now.time_ps, row.memory_free_ps)
    row.memory_free_ps = start + occupied_ps
    row.memory_busy_ps += occupied_ps
    if x.fixed[0].record != 0:
        log = x.memory_log[now.memory_rows]
        now.memory_rows += 1
        log.chip, log.use, log.owner, log.step = chip, use, owner, step
        log.start_ps, log.end_ps = start, row.memory_free_ps
    return int(row.memory_free_ps)
