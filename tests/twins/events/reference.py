"""The reference engine: the chip as a SimPy model, in integer picoseconds.

Events are arrivals: a stream enters, a flight reaches its digital unit, a job ends, the
inputs of a visit reach its tiles, a tile buffer has room again, weights reach a slot, a
slot is written. Between events, servers are "free at" times (Lindley's recursion, exact
for first come first served), so an event costs a few list operations.

What contends, first come first served: digital units; ADC groups (all PEs of a site, from
the first vector until the last has been taken in); network links; memory channels; tile
buffers; slots (a write occupies the slot's ADC groups). Flights wait for keys and values of
earlier flights. A run ends on one explicit event: the last flight is complete.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.events.stall import Deadline, Waiting, stall_error
from cimsim.engine.network import settle
from cimsim.engine.numbers import Numbers
from cimsim.engine.plan import Plan
from cimsim.engine.raw import DIGITAL, DRAM, KV_NEW, NOC, OPERANDS, QUEUE, RawRun, within_run
from tests.twins.events.tiles import ReferenceTiles
from tests.twins.events.trains import send_train
from tests.twins.events.visit import Visit

__all__ = ["ReferenceEngine", "run_reference", "visit_name"]

NONE = -1


def run_reference(
    plan: Plan,
    *,
    record: bool = True,
    max_events: int | None = None,
    max_seconds: float | None = None,
    numbers: Numbers | None = None,
) -> RawRun:
    """Run a plan in SimPy.

    Args:
        plan: what to run.
        record: whether to keep a log of visits and jobs.
        max_events: give up after this many events.
        max_seconds: give up after this time.
        numbers: the model, where numbers depend on time (coupled mode).

    Raises:
        SimulationError: if the run stalls (the message says who waits for what) or exceeds
            a limit.
    """
    engine = ReferenceEngine(plan, record=record, max_events=max_events, numbers=numbers)
    engine.deadline = Deadline(max_seconds)
    return engine.run()


class ReferenceEngine(ReferenceTiles):
    """One run of a plan; use `run_reference`."""

    def __init__(
        self,
        plan: Plan,
        *,
        record: bool,
        max_events: int | None,
        numbers: Numbers | None = None,
    ) -> None:
        super().__init__(plan, record=record, max_events=max_events, numbers=numbers)
        self.drained = self.env.event()
        flights = plan.flights
        self.needs = flights.needs.tolist()
        self.stream_ptr = flights.stream_ptr.tolist()
        self.enter_ps = [0] * flights.count
        self.done_ps = [0] * flights.count
        # Streams.
        self.active = 0
        self.next_stream = 0
        self.queued: deque[int] = deque()
        self.stream_left = np.diff(flights.stream_ptr).tolist()
        self.arrival_ps = plan.arrival_ps.tolist()
        # Keys and values: flights published without a gap, by stream and layer.
        self.published = [bytearray(plan.n_layers) for _ in range(flights.count)]
        self.prefix = [[0] * plan.n_layers for _ in range(flights.n_streams)]
        self.kv_wait = [NONE] * flights.count
        self.kv_since = [0] * flights.count
        # Digital units.
        self.digital_free = [0] * plan.mesh.n_digital
        self.digital_busy = [0] * plan.mesh.n_digital
        self.job_log: list[tuple[int, ...]] = []
        self.job_ps, self.attention_ps = plan.step.job_ps.tolist(), plan.step.attention_ps.tolist()
        self.attention_of = plan.step.attention.tolist()
        self.kv_step, self.stream_ps = plan.step.kv.tolist(), plan.memory.stream_ps.tolist()
        self.embed_ps = plan.memory.embed_ps.tolist()
        self.kv_read_ps, self.kv_write_ps = (
            plan.memory.kv_read_ps.tolist(),
            plan.memory.kv_write_ps.tolist(),
        )
        self.visits_tiles = [s.visits for s in plan.steps]

    def run(self) -> RawRun:
        """Run until drained."""
        if self.arrival_ps[0] == NONE:
            while self.next_stream < len(self.arrival_ps) and self.active < self.plan.concurrency:
                self._admit_next()
        else:
            self._at(self.arrival_ps[0], self._on_arrival, 0)
        try:
            self._drive()
        except RuntimeError as error:
            if self.left == 0 or self.env.peek() != float("inf"):
                raise
            raise stall_error(self.waiting(), self.left, self.env.now) from error
        return self._raw()

    def _drive(self) -> None:
        """Process events until the run is drained."""
        self.env.run(until=self.drained)

    # ------------------------------------------------------------------ streams

    def _on_arrival(self, event: Any) -> None:
        stream = event.value
        if stream + 1 < len(self.arrival_ps):
            self._at(self.arrival_ps[stream + 1], self._on_arrival, stream + 1)
        if self.active < self.plan.concurrency:
            self._admit(stream)
        else:
            self.queued.append(stream)

    def _admit_next(self) -> None:
        self.next_stream += 1
        self._admit(self.next_stream - 1)

    def _admit(self, stream: int) -> None:
        self.active += 1
        now = self.env.now
        entered = now if self.arrival_ps[stream] == NONE else self.arrival_ps[stream]
        first, end = self.stream_ptr[stream], self.stream_ptr[stream + 1]
        if self.plan.flights.sequential:
            end = first + 1
        for flight in range(first, end):
            self.enter_ps[flight] = entered
            self.parts[flight][QUEUE] += now - entered
            self._reach_digital(flight)

    def _complete(self, flight: int) -> None:
        self.done_ps[flight] = self.env.now
        self.left -= 1
        stream = self.stream[flight]
        self.stream_left[stream] -= 1
        if self.stream_left[stream] == 0:
            self.active -= 1
            if self.queued:
                self._admit(self.queued.popleft())
            elif self.arrival_ps[0] == NONE and self.next_stream < len(self.arrival_ps):
                self._admit_next()
        elif self.plan.flights.sequential:
            self.enter_ps[flight + 1] = self.env.now
            self._feed_back(flight)
        if self.left == 0:
            self.drained.succeed()

    def _feed_back(self, flight: int) -> None:
        """Start the next token of a stream: its id, one flit, goes back to the first step."""
        last, first = (self._digital_unit(flight, s) for s in (len(self.kv_step) - 1, 0))
        if last == first:
            self._reach_digital(flight + 1)
            return
        now, port = self.env.now, self.first_digital
        arrival = send_train(self.net, now, now, port + last, port + first, 1, 1)
        self.parts[flight + 1][NOC] += arrival - now
        self._at(arrival, self._stage_done, flight + 1)

    # ------------------------------------------------------------------ digital units

    def _stage_done(self, event: Any) -> None:
        self._reach_digital(event.value)

    def _reach_digital(self, flight: int) -> None:
        """A flight is at its digital unit: wait for keys and values, then start the job."""
        layer = self.kv_step[self.at_step[flight]]
        if layer != NONE:
            self._publish(flight, layer)
            if self.prefix[self.stream[flight]][layer] < self.needs[flight]:
                self.kv_wait[flight] = layer
                self.kv_since[flight] = self.env.now
                return
        self._job(flight)

    def _publish(self, flight: int, layer: int) -> None:
        """Make a flight's keys and values visible; wake flights that waited for them."""
        stream = self.stream[flight]
        first, end = self.stream_ptr[stream], self.stream_ptr[stream + 1]
        self.published[flight][layer] = 1
        before = after = self.prefix[stream][layer]
        while first + after < end and self.published[first + after][layer]:
            after += 1
        self.prefix[stream][layer] = after
        for other in range(first + before + 1, min(first + after + 1, end)):
            if self.kv_wait[other] == layer and self.needs[other] <= after:
                self.kv_wait[other] = NONE
                self.parts[other][QUEUE] += self.env.now - self.kv_since[other]
                self._job(other)

    def _job(self, flight: int) -> None:
        """Reserve the digital unit; it holds on while its operands come from memory."""
        now, step, size = self.env.now, self.at_step[flight], self.size[flight]
        unit, chip = self._digital_unit(flight, step), self.step_chip[step]
        row = self.attention_of[step]
        work = self.job_ps[step][size] if row == NONE else self.attention_ps[row][flight]
        start = max(now, self.digital_free[unit])
        end = start + work
        parts = self.parts[flight]
        parts[QUEUE] += start - now
        parts[DIGITAL] += work
        fetch = self.stream_ps[step] + (self.embed_ps[size] if step == 0 else 0)
        if self.kv_step[step] != NONE:
            fetch += self.kv_read_ps[flight]
        if fetch:
            ready = self._memory(chip, fetch, OPERANDS, flight, step) + self.plan.memory.latency_ps
            parts[DRAM] += max(0, ready - end)
            end = max(end, ready)
        if self.kv_step[step] != NONE and self.kv_write_ps[flight]:
            self._memory(chip, self.kv_write_ps[flight], KV_NEW, flight, step)
        self.digital_free[unit] = end
        self.digital_busy[unit] += work
        if self.record:
            self.job_log.append((unit, flight, step, start, end))
        self._at(end, self._on_job_end, flight)

    def _on_job_end(self, event: Any) -> None:
        flight = event.value
        if self.numbers is not None:
            self.numbers.stage(flight, self.at_step[flight])
        if self.visits_tiles[self.at_step[flight]]:
            self._dispatch(flight)
        else:
            self._next_step(flight)

    def _next_step(self, flight: int) -> None:
        step, now = self.at_step[flight], self.env.now
        self.at_step[flight] += 1
        if self.at_step[flight] == len(self.kv_step):
            self._complete(flight)
            return
        arrival = self._move(flight, step, now)
        if arrival == now:
            self._reach_digital(flight)
        else:
            self.parts[flight][NOC] += arrival - now
            self._at(arrival, self._stage_done, flight)

    # ------------------------------------------------------------------ the end

    def waiting(self) -> list[Waiting]:
        """Return everything that waits, for the message of a stall."""
        names = [s.name for s in self.plan.steps]
        found: list[Waiting] = []
        for flight, layer in enumerate(self.kv_wait):
            if layer != NONE:
                found.append(
                    Waiting(
                        f"flight {flight} ({names[self.at_step[flight]]})",
                        f"keys and values of {self.needs[flight]} flights of stream "
                        f"{self.stream[flight]} in layer {layer}",
                    )
                )
        for tile, queue in enumerate(self.buffers.queues):
            found += [Waiting(visit_name(v), f"room in the buffer of tile {tile}") for v in queue]
        for expert in sorted(self.residency.waiting):
            for visit in self.residency.waiting[expert]:
                key = self.plan.copies.expert_units[expert]
                found.append(Waiting(visit_name(visit), f"a slot for expert {key}"))
        outside = list(self.queued)
        if self.arrival_ps[0] == NONE:
            outside += range(self.next_stream, len(self.arrival_ps))
        found += [Waiting(f"stream {s}", "a free place in flight") for s in outside]
        return found

    def _link_used(self) -> NDArray[np.int64]:
        """Return what links carried, as `RawRun.link_used`."""
        return settle(self.net)

    def _raw(self) -> RawRun:
        residency = self.residency
        end = int(max(self.done_ps))
        writes, free = np.array(self.server_write), np.array(self.server_free)
        channels = np.array(self.dram_busy), np.array(self.dram_free)
        return RawRun(
            enter_ps=np.array(self.enter_ps, dtype=np.int64),
            done_ps=np.array(self.done_ps, dtype=np.int64),
            parts_ps=np.array(self.parts, dtype=np.int64),
            server_busy_ps=np.array(self.server_busy, dtype=np.int64),
            server_write_ps=within_run(writes, free, end).astype(np.int64),
            digital_busy_ps=np.array(self.digital_busy, dtype=np.int64),
            dram_busy_ps=within_run(*channels, end).astype(np.int64),
            site_vectors=np.array(self.site_vectors, dtype=np.int64),
            site_visits=np.array(self.site_visits, dtype=np.int64),
            expert_vectors=np.array(self.expert_vectors, dtype=np.int64),
            loads=np.array(residency.loads, dtype=np.int64),
            slot_loads=np.array(residency.slot_loads, dtype=np.int64),
            hits=residency.hits,
            misses=residency.misses,
            requests=np.array(residency.requests, dtype=np.int64),
            stall_ps=residency.stall_ps,
            power_stall_ps=self.power_stall_ps,
            link_used=self._link_used(),
            visits=np.array(self.visit_log, dtype=np.int64).reshape(-1, 9),
            jobs=np.array(self.job_log, dtype=np.int64).reshape(-1, 5),
            writes=np.array(self.load_log, dtype=np.int64).reshape(-1, 7),
            memory=np.array(self.memory_log, dtype=np.int64).reshape(-1, 6),
            peak_buffer_bytes=np.array(self.buffers.peak_bytes, dtype=np.int64),
            tier_switches=np.array(self.tier_switches, dtype=np.int64),
            events=self.events,
            end_ps=end,
        )


def visit_name(visit: Visit) -> str:
    """Return how messages call a visit."""
    return f"a visit of {visit.size} tokens of flight {visit.flight}"
