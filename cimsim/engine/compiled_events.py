"""Events of the compiled engine: the heap, and the memory channels that all sides use."""

from __future__ import annotations

from typing import cast

import numpy as np

from cimsim.engine import machine as m
from cimsim.engine.machine_ref import Machine
from cimsim.engine.noc.kernel import inner
from cimsim.engine.raw import MEMORY_USES

__all__ = [
    "ARRIVAL",
    "EXPERT",
    "JOB_END",
    "KV_NEW",
    "OPERANDS",
    "ROOM",
    "STAGE_DONE",
    "VISIT",
    "WEIGHTS",
    "WRITTEN",
    "push",
    "take_memory",
]

NONE = -1
STAGE_DONE, JOB_END, VISIT, ROOM, WEIGHTS, WRITTEN, ARRIVAL = (
    cast("int", np.int64(k)) for k in range(7)
)
"""Kinds of events, not literals (see `noc.kernel`)."""
OPERANDS, KV_NEW, EXPERT = (cast("int", np.int64(k)) for k in range(len(MEMORY_USES)))
"""Uses of memory."""


@inner
def push(x: Machine, time_ps: int, kind: int, argument: int) -> None:
    """Schedule an event: a binary heap ordered by time, then by order of scheduling."""
    now, heap = x.now, x.heap
    now[m.EVENTS] += 1
    if x.fixed[m.MAX_EVENTS] != NONE and now[m.EVENTS] > x.fixed[m.MAX_EVENTS]:
        now[m.FAILED] = 1
    sequence = now[m.SEQUENCE]
    now[m.SEQUENCE] += 1
    at = now[m.HEAPED]
    now[m.HEAPED] += 1
    while at > 0:
        parent = (at - 1) >> 1
        if heap[parent, 0] <= time_ps:  # equal times: the parent was scheduled earlier
            break
        heap[at, 0], heap[at, 1], heap[at, 2] = heap[parent, 0], heap[parent, 1], heap[parent, 2]
        at = parent
    heap[at, 0], heap[at, 1], heap[at, 2] = time_ps, sequence, argument * 8 + kind


@inner
def take_memory(x: Machine, chip: int, occupied_ps: int, use: int, owner: int, step: int) -> int:
    """Reserve the memory channels of a chip and return when the last byte leaves them."""
    row = x.dram[chip]
    start = max(x.now[m.TIME], row[m.FREE])
    row[m.FREE] = start + occupied_ps
    row[m.BUSY] += occupied_ps
    if x.fixed[m.RECORD] != 0:
        log = x.memory_log[x.now[m.MEMORY_ROWS]]
        x.now[m.MEMORY_ROWS] += 1
        log[0], log[1], log[2], log[3] = chip, use, owner, step
        log[4], log[5] = start, row[m.FREE]
    return int(row[m.FREE])
