"""The SimPy scheduler on the flit-level network.

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
* a slot is written when it is first in line (`flit_writes`);
* visits wait for power first come first served.

Digital units, memory channels, tile buffers and slots are the kernels of the packet level. Where a
token goes to the least loaded copy, the digital unit reckons with inputs that never wait.
Links between chips are not modelled here: systems of several chips run at the packet level.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from typing import Any

from cimsim.engine.events.coupled import visit_of
from cimsim.engine.events.flit_jobs import Countdown, Service, Stage, Write
from cimsim.engine.events.flit_wires import Arrival
from cimsim.engine.events.flit_writes import FlitWrites
from cimsim.engine.events.outcome import outcome, visit_name
from cimsim.engine.events.power_gate import PowerGate
from cimsim.engine.events.schedule import BACK, BEGIN, FINISH
from cimsim.engine.events.simpy_loop import SimpyRun
from cimsim.engine.events.stall import Waiting
from cimsim.engine.numbers import Numbers, rows_of_visit
from cimsim.engine.plan import Plan
from cimsim.engine.raw import NOC, QUEUE, RawRun
from cimsim.engine.resources import port_name

__all__ = ["FlitLoop", "run_flit"]

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
    """Run a plan of one chip in SimPy on the flit-level network; as `run_simpy`."""
    return FlitLoop(plan, SimpyRun(record, max_events, max_seconds, numbers)).run()


class FlitLoop(FlitWrites):
    """One run of a plan on the flit-level network; use `run_flit`."""

    def __init__(self, plan: Plan, how: SimpyRun) -> None:
        super().__init__(plan, how)
        self.gates: list[PowerGate[Service]] = [
            PowerGate(plan.power_limit_nw) for _ in range(plan.chips)
        ]
        self.stages: dict[int, Stage] = {}
        site = self.tables.site
        self.interval_ps, self.fill_ps = site["interval_ps"].tolist(), site["fill_ps"].tolist()
        self.power_nw, self.chip_of = site["power_nw"].tolist(), site["chip"].tolist()
        self.in_tiles = self.rows_of("ins", self.tables.ins)
        self.pairs_of = self.rows_of("pairs", self.tables.pairs)
        self.outs = self.rows_of("outs", self.tables.outs)

    def _drive(self) -> None:
        """Take turns with the network, which never runs ahead of the next event."""
        while self.left:
            until = self.env.peek()
            if self.wires.busy and self.wires.is_behind(until):
                arrivals = self.wires.advance(until)
                for arrival in arrivals:
                    self.at(arrival.time_ps, self._on_arrival_of, arrival)
                if not arrivals and self.wires.is_behind(until):  # a long slice
                    self.deadline.check(self.left, self.env.now)
            elif until < FOREVER:
                self.env.step()
                continue
            if self.wires.stuck or not (self.wires.busy or self.env.peek() < FOREVER):
                raise self._stall_error()

    def _on_arrival_of(self, event: Any) -> None:
        arrival: Arrival = event.value
        arrival.handler(arrival.value, arrival.port)

    # ------------------------------------------------------------------ inputs

    def act(self, kind: int, argument: int = 0) -> None:
        """Let the kernels handle one event, and send what they put into the outbox."""
        super().act(kind, argument)
        if count := int(self.now["outgoing"]):
            self.now["outgoing"] = 0
            outbox = self.tables.outbox[:count].tolist()
            for ends, group in groupby(outbox, NONE.__eq__):
                if not ends:
                    self._send(list(group))

    def _open(self, flight: int) -> Stage:
        """Begin a stage whose visits are known."""
        row, members = self.tables.flight[flight], defaultdict[int, list[int]](list)
        step = self.tables.step[row["step"]]
        v, count = int(row["head"]), 0
        while v != NONE:
            for token in rows_of_visit(visit_of(self.tables, v)).tolist():
                members[token].append(v)
            v, count = int(self.tables.visit[v]["next"]), count + 1
        unit = int(step["digital"] + self.tables.stream[row["stream"]]["digital"])
        port = self.plan.transport.ports.first_digital + unit
        stage = Stage(flight, int(row["step"]), port, members, count, int(row["size"]))
        if not step["summed"]:
            for token, own in members.items():
                pieces = sum(len(self.outs[self._site(v)]) for v in own)
                stage.pieces[token] = Countdown(pieces)
        self.stages[flight] = stage
        return stage

    def _site(self, v: int) -> int:
        return int(self.tables.visit[v]["site"])

    def _send(self, visits: list[int]) -> None:
        """Multicast the inputs of some visits of one flight, token by token."""
        flight = int(self.tables.visit[visits[0]]["flight"])
        stage = self.stages.get(flight) or self._open(flight)
        now = self.env.now
        receivers: dict[int, dict[int, list[Service]]] = defaultdict(lambda: defaultdict(list))
        for v in visits:
            visit = visit_of(self.tables, v)
            tokens, tiles = rows_of_visit(visit).tolist(), self.in_tiles[visit.site]
            missing = {token: Countdown(len(tiles)) for token in tokens}
            servers = self.servers_of[visit.site]
            service = Service(v, visit.site, visit.size, stage, servers, now, missing)
            for token in tokens:
                for tile in tiles:
                    receivers[token][tile].append(service)
        flits = int(self.plan.step.in_flits[stage.step])
        for token in sorted(receivers):
            value = receivers[token], token
            self.wires.send(now, stage.port, tuple(receivers[token]), flits, self._on_input, value)
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
        if service.start_ps != NONE:
            self._take_in(service, token)
            return
        service.inside.append(token)
        if len(service.inside) == 1:
            service.arrived_ps = self.env.now
            self.tables.visit_parts[service.visit, NOC] += self.env.now - service.sent_ps
            self.lines.join(service)
            self.act(BEGIN, service.visit)

    # ------------------------------------------------------------------ ADC groups

    def on_first(self, job: Any) -> None:
        """A job has its ADC groups."""
        if isinstance(job, Write):
            self.write(job)
            return
        service: Service = job
        service.in_ps = self.env.now
        if self.gates[self.chip_of[service.site]].ask(service, self.power_nw[service.site]):
            self._start(service)

    def _start(self, service: Service) -> None:
        """A visit may take vectors in."""
        now, v = self.env.now, service.visit
        service.start_ps = self.tables.visit[v]["start_ps"] = now
        self.now["power_stall_ps"] += now - service.in_ps
        service.in_ps = now
        if self.how.numbers is not None:
            self.how.numbers.serve(visit_of(self.tables, v), now)
        self.tables.visit_parts[v, QUEUE] += now - service.arrived_ps
        work = self.interval_ps[service.site] * service.size
        self.tables.server["busy_ps"][service.servers] += work
        if self.how.record:
            service.row = int(self.now["visit_rows"])
            self.now["visit_rows"] += 1
        for token in service.inside:
            self._take_in(service, token)

    def _take_in(self, service: Service, token: int) -> None:
        """Take a vector in as soon as the one before is in."""
        site = service.site
        service.in_ps = max(service.in_ps, self.env.now) + self.interval_ps[site]
        service.taken += 1
        if self.pairs_of[site]:
            self.at(service.in_ps, self._on_taken_in, (service, token))
        else:
            self.at(service.in_ps + self.fill_ps[site], self._on_result, (service, token))
        if service.taken == service.size:
            self.at(service.in_ps, self._on_all_in, service)

    def _on_all_in(self, event: Any) -> None:
        """A visit gives its ADC groups and its power back."""
        service: Service = event.value
        for other in self.gates[self.chip_of[service.site]].end(self.power_nw[service.site]):
            self._start(other)
        self.lines.leave(service)

    # ------------------------------------------------------------------ inside a visit

    def _on_taken_in(self, event: Any) -> None:
        service, token = event.value
        self._round(service, token, 0)

    def _round(self, service: Service, token: int, at: int) -> None:
        """Move a vector's partial sums and activations between the tiles of its visit."""
        pairs = self.pairs_of[service.site]
        if at == len(pairs):
            ready = self.env.now + self.fill_ps[service.site]
            self.at(ready, self._on_result, (service, token))
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
        stage = service.stage
        service.done += 1
        if service.done == service.size:
            self._finish(service)
        if not self.plan.step.summed[stage.step]:
            for tile, flits in self.outs[service.site]:
                value = stage, token
                self.wires.send(self.env.now, tile, (stage.port,), flits, self._on_piece, value)
        elif stage.unsent:
            stage.held.append((service, token))
        else:
            self._contribute(service, token)

    def _finish(self, service: Service) -> None:
        """The last result of a visit is ready."""
        if self.how.record:
            visit = visit_of(self.tables, service.visit)
            fixed = int(self.tables.site[visit.site]["expert"])
            expert = fixed if visit.expert == NONE else visit.expert
            self.tables.visit_log[service.row] = (
                visit.flight, service.stage.step, visit.site, expert, visit.size,
                service.arrived_ps, service.start_ps, self.env.now, service.in_ps,
            )  # fmt: skip
        self.act(FINISH, service.visit)

    def _contribute(self, service: Service, token: int) -> None:
        """Send a result on its way to the sum of its token."""
        stage = service.stage
        members = stage.members[token]
        if token not in stage.parts:
            sources = [self.outs[self._site(v)][0][0] for v in members]
            flits = int(self.plan.step.out_flits[stage.step])
            stage.parts[token] = self.wires.reduce(sources, stage.port, flits, self._on_back, stage)
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
        if stage.left == 0:
            del self.stages[stage.flight]
            self.act(BACK, stage.flight)

    # ------------------------------------------------------------------ the end

    def waiting(self) -> list[Waiting]:
        """Return everything that waits, for the message of a stall."""
        found = super().waiting()
        for job, server in self.lines.behind():
            who = f"slot {job.slot}" if isinstance(job, Write) else self._name(job)
            found.append(Waiting(who, f"ADC group {server}"))
        for gate in self.gates:
            found += [Waiting(self._name(service), "power") for service, _ in gate.line]
        found += [
            Waiting(f"a vector from {port_name(self.plan, port)}", channel)
            for port, channel in self.wires.blocked()
        ]
        return found

    def _name(self, service: Any) -> str:
        return visit_name(self.tables, service.visit)

    def _outcome(self) -> RawRun:
        # Until here `free_ps` was what the choice among copies expected; writes end for sure.
        self.tables.server["free_ps"] = self.written_ps
        return outcome(self.tables, self.wires.used())
