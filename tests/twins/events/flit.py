"""The reference engine on the flit-level network.

Vectors travel one by one: a token's input goes as one multicast to the tiles of all its
visits, its results come back as one sum (or as pieces to be joined), each cut into packets.
Nothing about a transfer is known before it has happened, so what the packet level reserves
in advance waits in line here:

* a visit joins the lines of its ADC groups when its first vector is at all its tiles, holds
  the groups from when it is first in line until its last vector has been taken in, and takes
  vectors in as they come;
* partial sums inside a visit move round by round for each vector;
* each result leaves when it is ready, a sum's parts once all visits of the flight's stage have
  been sent (the tree of a sum is not known before);
* a slot is written when it is first in line;
* visits wait for power first come first served.

Digital units, memory channels, tile buffers and slots work as at the packet level. Where a
token goes to the least loaded copy, the digital unit reckons with inputs that never wait.
Links between chips are not modelled here: systems of several chips run at the packet level.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.events.flit_wires import Arrival, FlitWires
from cimsim.engine.events.power_gate import PowerGate
from cimsim.engine.events.server_lines import ServerLines
from cimsim.engine.events.stall import Deadline, Waiting, stall_error
from cimsim.engine.numbers import Numbers, rows_of_visit
from cimsim.engine.plan import Plan
from cimsim.engine.raw import ADC, COMPUTE, EXPERT, NOC, QUEUE, RawRun
from cimsim.engine.resources import port_name
from tests.twins.events.reference import ReferenceEngine, visit_name
from tests.twins.events.residency import Load
from tests.twins.events.visit import Visit

__all__ = ["FlitEngine", "run_flit"]

NONE = -1
FOREVER = float("inf")


def run_flit(
    plan: Plan,
    *,
    record: bool = True,
    max_events: int | None = None,
    max_seconds: float | None = None,
    numbers: Numbers | None = None,
) -> RawRun:
    """Run a plan of one chip in SimPy on the flit-level network; as `run_reference`."""
    engine = FlitEngine(plan, record=record, max_events=max_events, numbers=numbers)
    engine.deadline = Deadline(max_seconds)
    return engine.run()


@dataclass(eq=False)
class Countdown:
    """Deliveries that are still due."""

    left: int

    def last(self) -> bool:
        """Count one; return whether it was the last."""
        self.left -= 1
        return self.left == 0


@dataclass(eq=False)
class Stage:
    """An analog stage of a flight.

    Attributes:
        flight: which.
        step: of the flight.
        members: visits of every token, in order.
        unsent: visits that have not been sent.
        left: tokens whose results are not back.
        held: results that wait for the tree of their sum.
        parts: messages of the parts of a token's sum.
        pieces: pieces of a token's results that are not back, where they are not summed.
    """

    flight: int
    step: int
    members: dict[int, list[Visit]]
    unsent: int
    left: int
    held: list[tuple[Service, int]] = field(default_factory=list)
    parts: dict[int, tuple[int, ...]] = field(default_factory=dict)
    pieces: dict[int, Countdown] = field(default_factory=dict)


@dataclass(eq=False)
class Service:
    """A visit that has been sent.

    Attributes:
        visit: which.
        stage: what it belongs to.
        servers: ADC groups.
        sent_ps: when its inputs were sent.
        missing: tiles that do not have a token's input yet, by token.
        inside: tokens at the tiles that wait for the ADC groups.
        start_ps: when it got them, or -1.
        in_ps: when the last vector so far has been taken in.
        taken, done: vectors taken in, results ready.
        row: of the log of visits.
    """

    visit: Visit
    stage: Stage
    servers: list[int]
    sent_ps: int
    missing: dict[int, Countdown]
    inside: list[int] = field(default_factory=list)
    start_ps: int = NONE
    in_ps: int = 0
    taken: int = 0
    done: int = 0
    row: int = NONE


@dataclass(eq=False)
class Write:
    """An expert's weights at their slot."""

    slot: int
    servers: list[int]


class FlitEngine(ReferenceEngine):
    """One run of a plan on the flit-level network; use `run_flit`."""

    def __init__(
        self,
        plan: Plan,
        *,
        record: bool,
        max_events: int | None,
        numbers: Numbers | None = None,
    ) -> None:
        super().__init__(plan, record=record, max_events=max_events, numbers=numbers)
        self.wires = FlitWires(plan.transport)
        self.lines = ServerLines(plan.sites.n_servers, self._on_first)
        self.gates: list[PowerGate[Service]] = [
            PowerGate(plan.power_limit_nw) for _ in range(plan.chips)
        ]
        self.stages: dict[int, Stage] = {}
        # Here `server_free` is what the choice among copies expects; writes end for sure.
        self.written_ps = [0] * plan.sites.n_servers

    def _drive(self) -> None:
        """Take turns with the network, which never runs ahead of the next event."""
        while self.left:
            until = self.env.peek()
            if self.wires.busy and self.wires.is_behind(until):
                arrivals = self.wires.advance(until)
                for arrival in arrivals:
                    self._at(arrival.time_ps, self._on_arrival_of, arrival)
                if not arrivals and self.wires.is_behind(until):  # a long slice
                    self.deadline.check(self.left, self.env.now)
            elif until < FOREVER:
                self.env.step()
                continue
            if self.wires.stuck or not (self.wires.busy or self.env.peek() < FOREVER):
                raise stall_error(self.waiting(), self.left, self.env.now)

    def _on_arrival_of(self, event: Any) -> None:
        arrival: Arrival = event.value
        arrival.handler(arrival.value, arrival.port)

    # ------------------------------------------------------------------ inputs

    def _open(self, flight: int) -> Stage:
        """Begin a stage whose visits are known."""
        visits, step = self.visits_of[flight], self.at_step[flight]
        members: dict[int, list[Visit]] = defaultdict(list)
        for visit in visits:
            for token in rows_of_visit(visit).tolist():
                members[token].append(visit)
        stage = Stage(flight, step, members, len(visits), self.size[flight])
        if not self.summed[step]:
            for token, own in members.items():
                pieces = sum(len(self.outs[visit.site][0]) for visit in own)
                stage.pieces[token] = Countdown(pieces)
        self.stages[flight] = stage
        return stage

    def _send(self, flight: int, visits: list[Visit]) -> None:
        """Multicast the inputs of some visits of one flight, token by token."""
        if not visits:
            return
        stage = self.stages.get(flight) or self._open(flight)
        now = self.env.now
        receivers: dict[int, dict[int, list[Service]]] = defaultdict(lambda: defaultdict(list))
        for visit in visits:
            tokens, tiles = rows_of_visit(visit).tolist(), self.in_tiles[visit.site]
            missing = {token: Countdown(len(tiles)) for token in tokens}
            service = Service(visit, stage, self.servers_of[visit.site], now, missing)
            for token in tokens:
                for tile in tiles:
                    receivers[token][tile].append(service)
        port, flits = self._digital_port(flight), self.in_flits[stage.step]
        for token in sorted(receivers):
            value = receivers[token], token
            self.wires.send(now, port, tuple(receivers[token]), flits, self._on_input, value)
        stage.unsent -= len(visits)
        if stage.unsent == 0:
            held, stage.held = stage.held, []
            for service, token in held:
                self._contribute(service, token)

    def _on_input(self, value: tuple[dict[int, list[Service]], int], tile: int) -> None:
        receivers, token = value
        for service in receivers[tile]:
            if service.missing[token].last():
                self._on_vector(service, token)

    def _on_vector(self, service: Service, token: int) -> None:
        """A vector is at all tiles of its visit; with the first, the visit gets in line."""
        visit, now = service.visit, self.env.now
        if service.start_ps != NONE:
            self._take_in(service, token)
            return
        service.inside.append(token)
        if len(service.inside) > 1:
            return
        site, size = visit.site, visit.size
        visit.arrived_ps = now
        visit.parts[NOC] += now - service.sent_ps
        self.replicas.begin(site, size)
        self.site_vectors[site] += size
        self.site_visits[site] += 1
        expert = self._expert_of(visit)
        if expert != NONE:
            self.expert_vectors[expert] += size
        self._expect(service.servers, self.interval_ps[site] * size)
        self.lines.join(service)
        self._unpin(visit)

    def _expert_of(self, visit: Visit) -> int:
        return self.expert_of_site[visit.site] if visit.expert == NONE else visit.expert

    def _expect(self, servers: list[int], work_ps: int) -> None:
        """Note when servers will be free if the job that joins their lines never waits."""
        end = max(self.env.now, *[self.server_free[s] for s in servers]) + work_ps
        for server in servers:
            self.server_free[server] = end

    # ------------------------------------------------------------------ ADC groups

    def _on_first(self, job: Any) -> None:
        """A job has its ADC groups."""
        if isinstance(job, Write):
            self._write(job)
            return
        service: Service = job
        service.in_ps = self.env.now
        chip, power = self._power_of(service)
        if self.gates[chip].ask(service, power):
            self._start(service)

    def _power_of(self, service: Service) -> tuple[int, int]:
        site = service.visit.site
        return self.chip_of[site], self.power_nw[site]

    def _start(self, service: Service) -> None:
        """A visit may take vectors in."""
        visit, now = service.visit, self.env.now
        service.start_ps = now
        self.power_stall_ps += now - service.in_ps
        service.in_ps = now
        if self.numbers is not None:
            self.numbers.serve(visit, now)
        visit.parts[QUEUE] += now - visit.arrived_ps
        for server in service.servers:
            self.server_busy[server] += self.interval_ps[visit.site] * visit.size
        if self.record:
            service.row = len(self.visit_log)
            self.visit_log.append(())
        for token in service.inside:
            self._take_in(service, token)

    def _take_in(self, service: Service, token: int) -> None:
        """Take a vector in as soon as the one before is in."""
        site = service.visit.site
        service.in_ps = max(service.in_ps, self.env.now) + self.interval_ps[site]
        service.taken += 1
        if self.pairs_of[site]:
            self._at(service.in_ps, self._on_taken_in, (service, token))
        else:
            self._at(service.in_ps + self.fill_ps[site], self._on_result, (service, token))
        if service.taken == service.visit.size:
            self._at(service.in_ps, self._on_all_in, service)

    def _on_all_in(self, event: Any) -> None:
        """A visit gives its ADC groups and its power back."""
        service: Service = event.value
        chip, power = self._power_of(service)
        for other in self.gates[chip].end(power):
            self._start(other)
        self.lines.leave(service)

    # ------------------------------------------------------------------ inside a visit

    def _on_taken_in(self, event: Any) -> None:
        service, token = event.value
        self._round(service, token, 0)

    def _round(self, service: Service, token: int, at: int) -> None:
        """Move a vector's partial sums and activations between the tiles of its visit."""
        site = service.visit.site
        pairs = self.pairs_of[site]
        if at == len(pairs):
            now = self.env.now
            self._at(now + self.fill_ps[site], self._on_result, (service, token))
            return
        end = at
        while end < len(pairs) and pairs[end][0] == pairs[at][0]:
            end += 1
        value = service, token, end, Countdown(end - at)
        for _, source, target, flits in pairs[at:end]:
            self.wires.send(self.env.now, source, (target,), flits, self._on_moved, value)

    def _on_moved(self, value: tuple[Service, int, int, Countdown], tile: int) -> None:
        del tile
        service, token, end, due = value
        if due.last():
            self._round(service, token, end)

    # ------------------------------------------------------------------ results

    def _on_result(self, event: Any) -> None:
        """A result is ready: send it back; with the last, the visit's room is free."""
        service, token = event.value
        visit, stage = service.visit, service.stage
        service.done += 1
        if service.done == visit.size:
            self._finish(service)
        if not self.summed[stage.step]:
            port = self._digital_port(stage.flight)
            for tile, flits in zip(*self.outs[visit.site], strict=True):
                value = stage, token
                self.wires.send(self.env.now, tile, (port,), flits, self._on_piece, value)
        elif stage.unsent:
            stage.held.append((service, token))
        else:
            self._contribute(service, token)

    def _finish(self, service: Service) -> None:
        """The last result of a visit is ready."""
        visit, site, now = service.visit, service.visit.site, self.env.now
        visit.finish_ps = now
        work = self.interval_ps[site] * visit.size + self.fill_ps[site]
        converting = self.adc_interval_ps[site] * visit.size + self.adc_fill_ps[site]
        visit.parts[COMPUTE] += work - converting
        visit.parts[ADC] += converting
        visit.parts[NOC] += now - service.start_ps - work
        if self.record:
            self.visit_log[service.row] = (
                visit.flight, service.stage.step, site, self._expert_of(visit), visit.size,
                visit.arrived_ps, service.start_ps, now, service.in_ps,
            )  # fmt: skip
        for tile in self.buffers.release(visit):
            self._arm(tile)

    def _contribute(self, service: Service, token: int) -> None:
        """Send a result on its way to the sum of its token."""
        stage = service.stage
        members = stage.members[token]
        if token not in stage.parts:
            sources = [self.outs[visit.site][0][0] for visit in members]
            port, flits = self._digital_port(stage.flight), self.out_flits[stage.step]
            stage.parts[token] = self.wires.reduce(sources, port, flits, self._on_back, stage)
        part = stage.parts[token][members.index(service.visit)]
        self.wires.start(self.env.now, part)

    def _on_piece(self, value: tuple[Stage, int], port: int) -> None:
        stage, token = value
        if stage.pieces[token].last():
            self._on_back(stage, port)

    def _on_back(self, stage: Stage, port: int) -> None:
        """A token's result is at its digital unit; with the last, the stage is done."""
        del port
        stage.left -= 1
        if stage.left:
            return
        flight = stage.flight
        last = max(self.visits_of[flight], key=lambda v: v.finish_ps)  # the first of equals
        parts = self.parts[flight]
        for i, part in enumerate(last.parts):
            parts[i] += part
        parts[NOC] += self.env.now - last.finish_ps
        self.visits_of[flight] = []
        del self.stages[flight]
        self.at_step[flight] += 1
        self._reach_digital(flight)

    # ------------------------------------------------------------------ expert switching

    def _load(self, expert: int, slot: int) -> None:
        """Fetch an expert's weights from memory; they are sent when all are there."""
        slots, chip = self.plan.slots, self.chip_of[self.residency.site[slot]]
        left = self._memory(chip, int(slots.fetch_ps[expert]), EXPERT, expert, NONE)
        fetched = left + self.plan.memory.latency_ps
        self.residency.begin(slot, Load(expert, self.env.now, fetched, fetched))
        self._at(fetched, self._on_fetched, slot)

    def _on_fetched(self, event: Any) -> None:
        slot: int = event.value
        load = self.residency.loading[slot]
        assert load is not None
        ports, tiles = self.plan.transport.ports, self.tiles_of[self.residency.site[slot]]
        value = slot, Countdown(ports.n_channels * len(tiles))
        flits = int(self.plan.slots.fetch_flits[load.expert])
        for channel in range(ports.n_channels):
            for tile in tiles:
                port = ports.first_channel + channel
                self.wires.send(self.env.now, port, (tile,), flits, self._on_weights_at, value)

    def _on_weights_at(self, value: tuple[int, Countdown], tile: int) -> None:
        """Weights are at a tile; with the last, the slot gets in line to be written."""
        del tile
        slot, due = value
        load = self.residency.loading[slot]
        if load is None or not due.last():
            return
        load.arrived_ps = self.env.now
        servers = self.servers_of[self.residency.site[slot]]
        self._expect(servers, int(self.plan.slots.write_ps[load.expert]))
        self.lines.join(Write(slot, servers))

    def _write(self, job: Write) -> None:
        load = self.residency.loading[job.slot]
        assert load is not None
        work = int(self.plan.slots.write_ps[load.expert])
        load.write_ps, load.end_ps = self.env.now, self.env.now + work
        for server in job.servers:
            self.written_ps[server] = load.end_ps
            self.server_write[server] += work
        if self.record:
            self.load_log.append(
                (job.slot, load.expert, load.start_ps, load.fetched_ps, load.arrived_ps,
                 load.write_ps, load.end_ps)
            )  # fmt: skip
        self._at(load.end_ps, self._on_written, job.slot)
        self._at(load.end_ps, self._on_end_of_write, job)

    def _on_end_of_write(self, event: Any) -> None:
        self.lines.leave(event.value)

    # ------------------------------------------------------------------ the end

    def waiting(self) -> list[Waiting]:
        """Return everything that waits, for the message of a stall."""
        found = super().waiting()
        for job, server in self.lines.behind():
            who = f"slot {job.slot}" if isinstance(job, Write) else visit_name(job.visit)  # type: ignore[attr-defined]
            found.append(Waiting(who, f"ADC group {server}"))
        for gate in self.gates:
            found += [Waiting(visit_name(s.visit), "power") for s, _ in gate.line]
        found += [
            Waiting(f"a vector from {port_name(self.plan, port)}", channel)
            for port, channel in self.wires.blocked()
        ]
        return found

    def _link_used(self) -> NDArray[np.int64]:
        return self.wires.used()

    def _raw(self) -> RawRun:
        self.server_free = self.written_ps
        return super()._raw()
