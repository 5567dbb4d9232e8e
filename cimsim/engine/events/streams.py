"""Streams enter, flights wait for keys and values, digital units do their jobs.

A digital unit serves jobs first come first served: it is free at a known time (Lindley's
recursion), so a job costs one event. It holds on while the operands of a job come from memory.
A flight's job waits until the earlier flights of its stream that it attends to have published
their keys and values of the layer.
"""

from __future__ import annotations

from cimsim.engine.between_chips import send_between
from cimsim.engine.events.dispatch import dispatch
from cimsim.engine.events.machine import Machine
from cimsim.engine.events.schedule import (
    ARRIVAL,
    JOB_END,
    KV_NEW,
    OPERANDS,
    STAGE_DONE,
    push,
    take_memory,
)
from cimsim.engine.events.sending import digital_unit, move
from cimsim.engine.noc.kernel import ONE, ZERO, inlined, inner
from cimsim.engine.raw import DIGITAL, DRAM, NOC, QUEUE

__all__ = ["on_arrival", "on_job_end", "reach_digital", "start_streams"]

NONE = -1


@inlined
def start_streams(x: Machine) -> None:
    """Let the first streams in."""
    now = x.now[0]
    if x.fixed[0].open != 0:
        push(x, x.stream[0].arrival_ps, ARRIVAL, ZERO)
    else:
        while now.next_stream < x.stream.shape[0] and now.active < x.fixed[0].concurrency:
            _admit_next(x)


@inlined
def on_arrival(x: Machine, stream: int) -> None:
    """A stream arrives: it enters if there is room for it in flight."""
    now = x.now[0]
    if stream + 1 < x.stream.shape[0]:
        push(x, x.stream[stream + 1].arrival_ps, ARRIVAL, stream + 1)
    if now.active < x.fixed[0].concurrency:
        _admit(x, stream)
    else:
        x.stream_queue[now.queue_first + now.queued] = stream
        now.queued += 1


@inner
def _admit_next(x: Machine) -> None:
    x.now[0].next_stream += 1
    _admit(x, x.now[0].next_stream - 1)


@inner
def _admit(x: Machine, stream: int) -> None:
    row, now_ps = x.stream[stream], x.now[0].time_ps
    x.now[0].active += 1
    entered = now_ps if row.arrival_ps == NONE else row.arrival_ps
    end = row.first + 1 if x.fixed[0].sequential != 0 else row.end
    for flight in range(row.first, end):
        x.flight[flight].enter_ps = entered
        x.flight_parts[flight, QUEUE] += now_ps - entered
        reach_digital(x, flight)


@inlined
def _complete(x: Machine, flight: int) -> None:
    now, stream = x.now[0], x.stream[x.flight[flight].stream]
    x.flight[flight].done_ps = now.time_ps
    now.left -= 1
    stream.left -= 1
    if stream.left == 0:
        now.active -= 1
        if now.queued > 0:
            now.queue_first += 1
            now.queued -= 1
            _admit(x, x.stream_queue[now.queue_first - 1])
        elif x.fixed[0].open == 0 and now.next_stream < x.stream.shape[0]:
            _admit_next(x)
    elif x.fixed[0].sequential != 0:
        x.flight[flight + 1].enter_ps = now.time_ps
        _feed_back(x, flight)
    if now.left == 0:
        # The run is over; what was scheduled for this moment before still happens.
        now.stop_ps, now.stop_sequence = now.time_ps, now.sequence
        now.sequence += 1


@inlined
def _feed_back(x: Machine, flight: int) -> None:
    """Start the next token of a stream: its id, one flit, goes back to the first step."""
    now_ps, port = x.now[0].time_ps, x.fixed[0].first_digital
    last = digital_unit(x, flight, x.fixed[0].steps - 1)
    first = digital_unit(x, flight, ZERO)
    if last == first:
        reach_digital(x, flight + 1)
        return
    arrival = send_between(x.net, x.net.after, now_ps, now_ps, port + last, port + first, ONE, ONE)
    x.flight_parts[flight + 1, NOC] += arrival - now_ps
    push(x, arrival, STAGE_DONE, flight + 1)


@inner
def reach_digital(x: Machine, flight: int) -> None:
    """A flight is at its digital unit: wait for keys and values, then start the job."""
    row = x.flight[flight]
    layer = x.step[row.step].kv
    if layer != NONE:
        _publish(x, flight, layer)
        if x.prefix[row.stream, layer] < row.needs:
            row.kv_wait, row.kv_since_ps = layer, x.now[0].time_ps
            return
    _job(x, flight)


@inlined
def _publish(x: Machine, flight: int, layer: int) -> None:
    """Make a flight's keys and values visible; wake flights that waited for them."""
    number = x.flight[flight].stream
    first, end = x.stream[number].first, x.stream[number].end
    x.published[flight, layer] = 1
    before = x.prefix[number, layer]
    after = before
    while first + after < end and x.published[first + after, layer] != 0:
        after += 1
    x.prefix[number, layer] = after
    for other in range(first + before + 1, min(first + after + 1, end)):
        row = x.flight[other]
        if row.kv_wait == layer and row.needs <= after:
            row.kv_wait = NONE
            x.flight_parts[other, QUEUE] += x.now[0].time_ps - row.kv_since_ps
            _job(x, other)


@inner
def _job(x: Machine, flight: int) -> None:
    """Reserve the digital unit; it holds on while its operands come from memory."""
    now_ps, row, parts = x.now[0].time_ps, x.flight[flight], x.flight_parts[flight]
    number, size = row.step, row.size
    step, digital = x.step[number], digital_unit(x, flight, number)
    unit = x.digital[digital]
    if step.attention == NONE:
        work = x.job_ps[number, size]
    else:
        work = x.attention_ps[step.attention, flight]
    start = max(now_ps, unit.free_ps)
    end = start + work
    parts[QUEUE] += start - now_ps
    parts[DIGITAL] += work
    fetch = step.stream_ps
    if number == 0:
        fetch += x.embed_ps[size]
    if step.kv != NONE:
        fetch += row.kv_read_ps
    if fetch != 0:
        left = take_memory(x, step.chip, fetch, OPERANDS, flight, number)
        ready = left + x.fixed[0].latency_ps
        parts[DRAM] += max(0, ready - end)
        end = max(end, ready)
    if step.kv != NONE and row.kv_write_ps != 0:
        take_memory(x, step.chip, row.kv_write_ps, KV_NEW, flight, number)
    unit.free_ps = end
    unit.busy_ps += work
    if x.fixed[0].record != 0:
        log = x.job_log[x.now[0].job_rows]
        x.now[0].job_rows += 1
        log.digital, log.flight, log.step = digital, flight, number
        log.start_ps, log.end_ps = start, end
    push(x, end, JOB_END, flight)


@inlined
def on_job_end(x: Machine, flight: int) -> None:
    """A job is done: the tokens visit their sites, or go on to the next step."""
    row = x.flight[flight]
    if x.step[row.step].visits != 0:
        dispatch(x, flight)
        return
    row.step += 1
    if row.step == x.fixed[0].steps:
        _complete(x, flight)
        return
    now_ps = x.now[0].time_ps
    arrival = move(x, flight, row.step - 1, now_ps)
    if arrival == now_ps:
        reach_digital(x, flight)
    else:
        x.flight_parts[flight, NOC] += arrival - now_ps
        push(x, arrival, STAGE_DONE, flight)
