"""One event after another: the kernel that both schedulers call."""

from __future__ import annotations

from cimsim.engine.events.buffers import on_room
from cimsim.engine.events.machine import Machine
from cimsim.engine.events.schedule import (
    ARRIVAL,
    BACK,
    BEGIN,
    FINISH,
    JOB_END,
    KIND_BITS,
    KINDS,
    ROOM,
    STAGE_DONE,
    START,
    VISIT,
    WEIGHTS,
    WRITTEN,
    pop,
)
from cimsim.engine.events.serving import on_back, on_begin, on_finish, on_visit
from cimsim.engine.events.slots import on_weights, on_written
from cimsim.engine.events.streams import on_arrival, on_job_end, reach_digital, start_streams
from cimsim.engine.noc.kernel import inlined, kernel

__all__ = ["advance"]

NONE = -1


@kernel
def advance(x: Machine, most: int) -> int:
    """Handle the first events of the heap; return how many events are in it then.

    Nothing is left when the run is over, and nothing goes on when it has more events than it may
    (`now.failed`).

    Args:
        x: the tables.
        most: how many events to handle.
    """
    now, heap = x.now[0], x.heap
    for _ in range(most):
        if now.heaped == 0 or now.failed != 0:
            break
        time_ps, what = heap[0].time_ps, heap[0].what
        if now.stop_ps != NONE and (time_ps > now.stop_ps or heap[0].sequence > now.stop_sequence):
            now.heaped = 0
            break
        pop(x)
        now.time_ps = time_ps
        kind, argument = what & (KINDS - 1), what >> KIND_BITS
        if kind == VISIT:
            on_visit(x, argument)
        elif kind == JOB_END:
            on_job_end(x, argument)
        elif kind == STAGE_DONE:
            reach_digital(x, argument)
        elif kind == ROOM:
            on_room(x, argument)
        elif kind == WEIGHTS:
            on_weights(x, argument)
        elif kind == WRITTEN:
            on_written(x, argument)
        elif kind == ARRIVAL:
            on_arrival(x, argument)
        elif kind == START:
            start_streams(x)
        else:
            _handle_flit(x, kind, argument)
    return int(now.heaped)


@inlined
def _handle_flit(x: Machine, kind: int, argument: int) -> None:
    """Handle an event that only the flit level has."""
    if kind == BEGIN:
        on_begin(x, argument)
    elif kind == FINISH:
        on_finish(x, argument)
    elif kind == BACK:
        on_back(x, argument)
