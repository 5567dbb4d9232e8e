"""The compiled engine: the reference model in Numba, equal to the picosecond, for scale.

Same events in the same order: a binary heap by (time, order of scheduling), which is how
SimPy orders events of equal priority. Read `reference` first; functions have its names.
"""

from __future__ import annotations

import numpy as np

from cimsim.engine import machine as m
from cimsim.engine.compiled_buffers import on_room
from cimsim.engine.compiled_events import (
    ARRIVAL,
    JOB_END,
    KV_NEW,
    OPERANDS,
    ROOM,
    STAGE_DONE,
    VISIT,
    WEIGHTS,
    WRITTEN,
    push,
    take_memory,
)
from cimsim.engine.compiled_sending import digital_unit, move
from cimsim.engine.compiled_slots import on_weights, on_written
from cimsim.engine.compiled_visits import dispatch, on_visit
from cimsim.engine.machine import Tables, make_tables
from cimsim.engine.machine_ref import Machine, borrow
from cimsim.engine.network import settle
from cimsim.engine.noc.kernel import ONE, ZERO, inner, kernel
from cimsim.engine.plan import Plan
from cimsim.engine.raw import DIGITAL, DRAM, NOC, QUEUE, VISIT_PARTS, RawRun, within_run
from cimsim.engine.stall import Deadline, event_limit_error
from cimsim.engine.transport import send_across
from cimsim.errors import CimsimInternalError

__all__ = ["run_compiled"]

NONE = -1
DRAINED, STALLED, LIMITED = range(3)
SLICE_EVENTS = 1_000_000
"""Events between two looks at the clock: about a second."""


def run_compiled(
    plan: Plan,
    *,
    record: bool = True,
    max_events: int | None = None,
    max_seconds: float | None = None,
) -> RawRun:
    """Run a plan in compiled code.

    Args:
        plan: what to run.
        record: whether to keep a log of visits, jobs and writes.
        max_events: give up after this many events.
        max_seconds: give up after this time.

    Raises:
        SimulationError: if the run stalls or exceeds a limit; the reference engine then
            names who waits for what.
    """
    x = make_tables(plan, record=record, max_events=max_events)
    deadline = Deadline(max_seconds)
    limit = int(x.fixed[m.MAX_EVENTS])
    if max_seconds is not None:  # compiled code cannot see the clock: look at it in between
        x.fixed[m.MAX_EVENTS] = _slice(0, limit)
    outcome = _run(x)
    while outcome == LIMITED:
        events, left, now_ps = (int(x.now[i]) for i in (m.EVENTS, m.LEFT, m.TIME))
        if max_events is not None and events > max_events:
            raise event_limit_error(max_events, left, now_ps)
        deadline.check(left, now_ps)
        x.fixed[m.MAX_EVENTS], x.now[m.FAILED] = _slice(events, limit), 0
        outcome = _run(x)
    if outcome == STALLED:
        # A stalled run is short: the reference engine repeats it and says who waits.
        from cimsim.engine.reference import run_reference  # noqa: PLC0415 - only on this path

        run_reference(plan, record=False, max_events=max_events, max_seconds=max_seconds)
        message = "the compiled engine stalled where the reference engine does not"
        raise CimsimInternalError(message)
    return _raw(x)


def _slice(events: int, limit: int) -> int:
    """Return at how many events to look at the clock again."""
    following = events + SLICE_EVENTS
    return following if limit == NONE else min(following, limit)


@kernel
def _run(tables: Tables) -> int:
    """Run until drained, stalled or out of events; may be called again after the last."""
    x: Machine = borrow(tables)
    now, heap = x.now, x.heap
    if now[m.SEQUENCE] == 0:
        _start(x)
    while now[m.HEAPED] > 0:
        time, sequence, what = heap[0, 0], heap[0, 1], heap[0, 2]
        if now[m.STOP_TIME] != NONE and (
            time > now[m.STOP_TIME] or sequence > now[m.STOP_SEQUENCE]
        ):
            return DRAINED
        if now[m.FAILED] != 0:
            return LIMITED
        _pop(x)
        now[m.TIME] = time
        kind, argument = what & 7, what >> 3
        if kind == VISIT:
            on_visit(x, argument)
        elif kind == JOB_END:
            _on_job_end(x, argument)
        elif kind == STAGE_DONE:
            _reach_digital(x, argument)
        elif kind == ROOM:
            on_room(x, argument)
        elif kind == WEIGHTS:
            on_weights(x, argument)
        elif kind == WRITTEN:
            on_written(x, argument)
        else:
            _on_arrival(x, argument)
    return DRAINED if now[m.LEFT] == 0 else STALLED


@inner
def _start(x: Machine) -> None:
    """Let the first streams in."""
    now = x.now
    if x.fixed[m.OPEN] != 0:
        push(x, x.stream[0, m.S_ARRIVAL], ARRIVAL, ZERO)
    else:
        while now[m.NEXT_STREAM] < x.stream.shape[0] and now[m.ACTIVE] < x.fixed[m.CONCURRENCY]:
            _admit_next(x)


@inner
def _pop(x: Machine) -> None:
    """Remove the first event."""
    heap = x.heap
    x.now[m.HEAPED] -= 1
    n = x.now[m.HEAPED]
    time, sequence, what, at = heap[n, 0], heap[n, 1], heap[n, 2], 0
    while True:
        child = 2 * at + 1
        if child >= n:
            break
        other = child + 1
        if other < n and (
            heap[other, 0] < heap[child, 0]
            or (heap[other, 0] == heap[child, 0] and heap[other, 1] < heap[child, 1])
        ):
            child = other
        if heap[child, 0] > time or (heap[child, 0] == time and heap[child, 1] > sequence):
            break
        heap[at, 0], heap[at, 1], heap[at, 2] = heap[child, 0], heap[child, 1], heap[child, 2]
        at = child
    heap[at, 0], heap[at, 1], heap[at, 2] = time, sequence, what


# ---------------------------------------------------------------------- streams


@inner
def _on_arrival(x: Machine, stream: int) -> None:
    if stream + 1 < x.stream.shape[0]:
        push(x, x.stream[stream + 1, m.S_ARRIVAL], ARRIVAL, stream + 1)
    if x.now[m.ACTIVE] < x.fixed[m.CONCURRENCY]:
        _admit(x, stream)
    else:
        x.stream_queue[x.now[m.STREAM_QUEUE] + x.now[m.STREAM_QUEUED]] = stream
        x.now[m.STREAM_QUEUED] += 1


@inner
def _admit_next(x: Machine) -> None:
    x.now[m.NEXT_STREAM] += 1
    _admit(x, x.now[m.NEXT_STREAM] - 1)


@inner
def _admit(x: Machine, stream: int) -> None:
    x.now[m.ACTIVE] += 1
    row, now_ps = x.stream[stream], x.now[m.TIME]
    entered = now_ps if row[m.S_ARRIVAL] == NONE else row[m.S_ARRIVAL]
    end = row[m.S_FIRST] + 1 if x.fixed[m.SEQUENTIAL] != 0 else row[m.S_END]
    for flight in range(row[m.S_FIRST], end):
        x.flight[flight, m.ENTER] = entered
        x.flight[flight, m.PARTS + QUEUE] += now_ps - entered
        _reach_digital(x, flight)


@inner
def _complete(x: Machine, flight: int) -> None:
    now, stream = x.now, x.stream[x.flight[flight, m.STREAM]]
    x.flight[flight, m.DONE] = now[m.TIME]
    now[m.LEFT] -= 1
    stream[m.S_LEFT] -= 1
    if stream[m.S_LEFT] == 0:
        now[m.ACTIVE] -= 1
        if now[m.STREAM_QUEUED] > 0:
            now[m.STREAM_QUEUE] += 1
            now[m.STREAM_QUEUED] -= 1
            _admit(x, x.stream_queue[now[m.STREAM_QUEUE] - 1])
        elif x.fixed[m.OPEN] == 0 and now[m.NEXT_STREAM] < x.stream.shape[0]:
            _admit_next(x)
    elif x.fixed[m.SEQUENTIAL] != 0:
        x.flight[flight + 1, m.ENTER] = now[m.TIME]
        _feed_back(x, flight)
    if now[m.LEFT] == 0:
        now[m.STOP_TIME], now[m.STOP_SEQUENCE] = now[m.TIME], now[m.SEQUENCE]
        now[m.SEQUENCE] += 1


@inner
def _feed_back(x: Machine, flight: int) -> None:
    """Start the next token of a stream: its id, one flit, goes back to the first step."""
    now_ps, port = x.now[m.TIME], x.fixed[m.FIRST_DIGITAL]
    last = digital_unit(x, flight, x.fixed[m.STEPS] - 1)
    first = digital_unit(x, flight, ZERO)
    if last == first:
        _reach_digital(x, flight + 1)
        return
    arrival = send_across(x.net, now_ps, now_ps, port + last, port + first, ONE, ONE)
    x.flight[flight + 1, m.PARTS + NOC] += arrival - now_ps
    push(x, arrival, STAGE_DONE, flight + 1)


# ---------------------------------------------------------------------- digital units


@inner
def _reach_digital(x: Machine, flight: int) -> None:
    """A flight is at its digital unit: wait for keys and values, then start the job."""
    row = x.flight[flight]
    layer = x.step[row[m.STEP], m.KV]
    if layer != NONE:
        _publish(x, flight, layer)
        if x.prefix[row[m.STREAM], layer] < row[m.NEEDS]:
            row[m.KV_WAIT], row[m.KV_SINCE] = layer, x.now[m.TIME]
            return
    _job(x, flight)


@inner
def _publish(x: Machine, flight: int, layer: int) -> None:
    """Make a flight's keys and values visible; wake flights that waited for them."""
    number = x.flight[flight, m.STREAM]
    first, end = x.stream[number, m.S_FIRST], x.stream[number, m.S_END]
    x.published[flight, layer] = 1
    before = x.prefix[number, layer]
    after = before
    while first + after < end and x.published[first + after, layer] != 0:
        after += 1
    x.prefix[number, layer] = after
    for other in range(first + before + 1, min(first + after + 1, end)):
        row = x.flight[other]
        if row[m.KV_WAIT] == layer and row[m.NEEDS] <= after:
            row[m.KV_WAIT] = NONE
            row[m.PARTS + QUEUE] += x.now[m.TIME] - row[m.KV_SINCE]
            _job(x, other)


@inner
def _job(x: Machine, flight: int) -> None:
    """Reserve the digital unit; it holds on while its operands come from memory."""
    now_ps, row = x.now[m.TIME], x.flight[flight]
    number, size = row[m.STEP], row[m.SIZE]
    step, unit = x.step[number], digital_unit(x, flight, number)
    if step[m.ATTENTION] == NONE:
        work = x.job_ps[number, size]
    else:
        work = x.attention_ps[step[m.ATTENTION], flight]
    start = max(now_ps, x.digital[unit, m.FREE])
    end = start + work
    row[m.PARTS + QUEUE] += start - now_ps
    row[m.PARTS + DIGITAL] += work
    fetch = step[m.FETCH]
    if number == 0:
        fetch += x.embed_ps[size]
    if step[m.KV] != NONE:
        fetch += row[m.KV_READ]
    if fetch != 0:
        left = take_memory(x, step[m.STEP_CHIP], fetch, OPERANDS, flight, number)
        ready = left + x.fixed[m.LATENCY]
        row[m.PARTS + DRAM] += max(0, ready - end)
        end = max(end, ready)
    if step[m.KV] != NONE and row[m.KV_WRITE] != 0:
        take_memory(x, step[m.STEP_CHIP], row[m.KV_WRITE], KV_NEW, flight, number)
    x.digital[unit, m.FREE] = end
    x.digital[unit, m.BUSY] += work
    if x.fixed[m.RECORD] != 0:
        log = x.job_log[x.now[m.JOB_ROWS]]
        x.now[m.JOB_ROWS] += 1
        log[0], log[1], log[2], log[3], log[4] = unit, flight, number, start, end
    push(x, end, JOB_END, flight)


@inner
def _on_job_end(x: Machine, flight: int) -> None:
    row = x.flight[flight]
    if x.step[row[m.STEP], m.VISITS] != 0:
        dispatch(x, flight)
        return
    row[m.STEP] += 1
    if row[m.STEP] == x.fixed[m.STEPS]:
        _complete(x, flight)
        return
    now_ps = x.now[m.TIME]
    arrival = move(x, flight, row[m.STEP] - 1, now_ps)
    if arrival == now_ps:
        _reach_digital(x, flight)
    else:
        row[m.PARTS + NOC] += arrival - now_ps
        push(x, arrival, STAGE_DONE, flight)


def _raw(x: Tables) -> RawRun:
    now = x.now
    done = x.flight[:, m.DONE]
    end = int(np.max(done))
    channels = x.dram[:, m.BUSY], x.dram[:, m.FREE]
    return RawRun(
        enter_ps=x.flight[:, m.ENTER].copy(),
        done_ps=done.copy(),
        parts_ps=x.flight[:, m.PARTS : m.PARTS + 1 + VISIT_PARTS].copy(),
        server_busy_ps=x.server[:, m.BUSY].copy(),
        server_write_ps=within_run(x.server[:, m.WRITTEN], x.server[:, m.FREE], end),
        digital_busy_ps=x.digital[:, m.BUSY].copy(),
        dram_busy_ps=within_run(*channels, end),
        site_vectors=x.site[:, m.SITE_VECTORS].copy(),
        site_visits=x.site[:, m.SITE_VISITS].copy(),
        expert_vectors=x.expert[:, m.E_VECTORS].copy(),
        loads=x.expert[:, m.E_LOADS].copy(),
        slot_loads=x.slot[:, m.SLOT_LOADS].copy(),
        hits=int(now[m.HITS]),
        misses=int(now[m.MISSES]),
        requests=x.requests[: now[m.REQUESTED]].copy(),
        stall_ps=int(now[m.STALL]),
        power_stall_ps=int(now[m.POWER_STALL]),
        link_used=settle(x.net),
        visits=x.visit_log[: now[m.VISIT_ROWS]].copy(),
        jobs=x.job_log[: now[m.JOB_ROWS]].copy(),
        writes=x.load_log[: now[m.LOAD_ROWS]].copy(),
        memory=x.memory_log[: now[m.MEMORY_ROWS]].copy(),
        peak_buffer_bytes=x.tile[:, m.PEAK].copy(),
        events=int(now[m.EVENTS]),
        end_ps=end,
    )
