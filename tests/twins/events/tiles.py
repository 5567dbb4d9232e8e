"""The tile side of the reference engine: visits, tile buffers, expert switching.

`ReferenceTiles` holds the state of every contended resource behind a digital unit and moves
visits through them. `reference` adds streams, keys and values, and digital units.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from cimsim.engine.events.stall import CHECK_EVENTS, Deadline, event_limit_error
from cimsim.engine.idle_network import make_network
from cimsim.engine.numbers import Numbers
from cimsim.engine.plan import Plan
from cimsim.engine.policies import PREFETCH
from cimsim.engine.raw import ADC, COMPUTE, EXPERT, NOC, PARTS, QUEUE
from tests.twins.events.buffer import TileBuffers
from tests.twins.events.power import PowerBudget
from tests.twins.events.replicas import ReplicaChoice
from tests.twins.events.residency import Load, NextLayer, Residency
from tests.twins.events.trains import reduce_train, scatter_trains, send_train
from tests.twins.events.visit import Visit, VisitMaker

__all__ = ["ReferenceTiles", "rows_of"]

NONE = -1


class ReferenceTiles:
    """Tiles, network, memory channels and slots of one run, on a SimPy clock.

    Args:
        plan: what runs.
        record: whether to keep a log of visits and jobs.
        max_events: give up after this many events.
        numbers: the model, where numbers depend on time.
    """

    def __init__(
        self, plan: Plan, *, record: bool, max_events: int | None, numbers: Numbers | None
    ) -> None:
        self.plan = plan
        self.numbers = numbers
        self.record = record
        self.max_events = max_events
        self.deadline = Deadline(None)
        self.env: Any = simpy.Environment(initial_time=0)  # its time is an int here
        self.events = 0
        flights = plan.flights
        self.size = flights.size.tolist()
        self.stream: list[int] = flights.stream.tolist()
        self.left = flights.count
        self.parts = [[0] * len(PARTS) for _ in range(flights.count)]
        self.at_step = [0] * flights.count
        self.pending = [0] * flights.count
        self.visits_of: list[list[Visit]] = [[] for _ in range(flights.count)]
        self.dram_free, self.dram_busy = [0] * plan.chips, [0] * plan.chips
        self.server_free = [0] * plan.sites.n_servers
        self.server_busy = [0] * plan.sites.n_servers
        self.server_write = [0] * plan.sites.n_servers
        self.replicas = ReplicaChoice(
            plan, self.server_free, rows_of(plan.sites.server_ptr, plan.sites.servers)
        )
        self.maker = VisitMaker(plan, self.replicas)
        self.buffers = TileBuffers(plan)
        self.residency = Residency(plan)
        self.next_layer = NextLayer(plan)
        self.power = [PowerBudget(plan.power_limit_nw) for _ in range(plan.chips)]
        self.power_limited = plan.power_limit_nw > 0
        self.power_nw = plan.sites.power_nw.tolist()
        self.power_stall_ps = 0
        self.prefetches = plan.slots.policy == PREFETCH
        self.first = flights.first.tolist()
        self.step_moe = plan.step.moe.tolist()
        self.net = make_network(plan.transport)
        self.cycle_ps = plan.transport.timing.cycle_ps
        self.site_vectors = [0] * plan.sites.count
        self.site_visits = [0] * plan.sites.count
        self.expert_vectors = [0] * len(plan.copies.expert_units)
        self.expert_of_site = [NONE] * plan.sites.count
        for expert, sites in enumerate(rows_of(plan.copies.expert_ptr, plan.copies.expert_sites)):
            for site in sites:
                self.expert_of_site[site] = expert
        self.switch_ps = plan.tier_switch_ps
        # Reservations of every tile that has tiers: (start, end, tier, alone), in order of asking.
        self.readings: list[list[tuple[int, int, int, bool]]] = [
            [] for _ in range(plan.mesh.n_tiles)
        ]
        self.tier_switches = [0] * plan.mesh.n_tiles
        self.visit_log: list[tuple[int, ...]] = []
        self.load_log: list[tuple[int, ...]] = []
        self.memory_log: list[tuple[int, ...]] = []
        self._site_tables()

    def _site_tables(self) -> None:
        """Turn arrays that events read into lists, which Python indexes faster."""
        plan, sites = self.plan, self.plan.sites
        self.servers_of = rows_of(sites.server_ptr, sites.servers)
        self.tiles_of = rows_of(sites.tile_ptr, sites.tiles)
        tiers = [sites.tiles, sites.tier, sites.tier_turns]
        columns = [rows_of(sites.tile_ptr, c) for c in tiers] if plan.tiers > 1 else []
        self.tiers_of = [list(zip(*row, strict=True)) for row in zip(*columns, strict=True)]
        self.in_tiles = rows_of(sites.in_ptr, sites.in_tiles)
        out_tiles = rows_of(sites.out_ptr, sites.out_tiles)
        out_flits = rows_of(sites.out_ptr, sites.out_flits)
        self.outs = list(zip(out_tiles, out_flits, strict=True))
        columns = (sites.pair_round, sites.pair_source, sites.pair_target, sites.pair_flits)
        pairs = [rows_of(sites.pair_ptr, c) for c in columns]
        self.pairs_of = [list(zip(*row, strict=True)) for row in zip(*pairs, strict=True)]
        self.fill_ps, self.interval_ps = sites.fill_ps.tolist(), sites.interval_ps.tolist()
        self.adc_fill_ps: list[int] = sites.adc_fill_ps.tolist()
        self.adc_interval_ps: list[int] = sites.adc_interval_ps.tolist()
        self.in_flits, self.out_flits = plan.step.in_flits.tolist(), plan.step.out_flits.tolist()
        self.first_digital: int = plan.transport.ports.first_digital
        self.summed = plan.step.summed.tolist()
        self.digital_of: list[int] = plan.digital_of.tolist()
        self.step_chip: list[int] = plan.step.chip.tolist()
        self.step_digital: list[int] = plan.step.digital.tolist()
        self.chip_of = [plan.mesh.chip_of_tile(tiles[0]) for tiles in self.tiles_of]
        room = max(1, self.maker.most_targets)
        self.ports = np.zeros(room, dtype=np.int64)
        self.masks = np.zeros((room, plan.transport.words), dtype=np.uint64)
        self.times = np.zeros((2, room), dtype=np.int64)

    def _at(self, time_ps: int, handler: Callable[[Any], None], value: object) -> None:
        """Call `handler` at a time, after everything already scheduled for that time."""
        self.events += 1
        if self.max_events is not None and self.events > self.max_events:
            raise event_limit_error(self.max_events, self.left, self.env.now)
        if self.events % CHECK_EVENTS == 0:
            self.deadline.check(self.left, self.env.now)
        self.env.timeout(time_ps - self.env.now, value).callbacks.append(handler)

    def _memory(self, chip: int, occupied_ps: int, use: int, owner: int, step: int) -> int:
        """Reserve the memory channels of a chip and return when the last byte leaves them."""
        start = max(self.env.now, self.dram_free[chip])
        self.dram_free[chip] = start + occupied_ps
        if self.record:
            self.memory_log.append((chip, use, owner, step, start, start + occupied_ps))
        self.dram_busy[chip] += occupied_ps
        return self.dram_free[chip]

    def _stage_done(self, event: Any) -> None:
        """A flight's results are back at its digital unit (`ReferenceEngine`)."""
        raise NotImplementedError

    # ------------------------------------------------------------------ visits

    def _dispatch(self, flight: int) -> None:
        """Group a flight's tokens by site and send those that may go."""
        visits = self.maker.make(flight, self.at_step[flight], self.env.now)
        self.visits_of[flight] = visits
        self.pending[flight] = len(visits)
        self._send(flight, [v for v in visits if self._resident(v) and self._room(v)])
        if self.prefetches and self.step_moe[self.at_step[flight]] != NONE:
            self._prefetch(flight, self.step_moe[self.at_step[flight]])

    def _send(self, flight: int, visits: list[Visit]) -> None:
        """Multicast the inputs of some visits of one flight."""
        if not visits:
            return
        now, count = self.env.now, 0
        for visit in visits:
            for tile in self.in_tiles[visit.site]:
                self.ports[count] = tile
                self.masks[count] = visit.mask
                count += 1
        flits = self.in_flits[self.at_step[flight]]
        port = self._digital_port(flight)
        scatter_trains(
            self.net, now, port, self.ports, self.masks, count, flits, self.times[0], self.times[1]
        )
        at = 0
        firsts, arrivals = self.times[:, :count].tolist()
        for visit in visits:
            tiles = len(self.in_tiles[visit.site])
            visit.tail_ps = max(arrivals[at : at + tiles])
            first = max(firsts[at : at + tiles])
            at += tiles
            visit.parts[NOC] += first - now
            self._at(first, self._on_visit, visit)

    def _digital_unit(self, flight: int, step: int) -> int:
        """Return the digital unit that serves a flight in a step."""
        return self.step_digital[step] + self.digital_of[self.stream[flight]]

    def _digital_port(self, flight: int) -> int:
        return self.first_digital + self._digital_unit(flight, self.at_step[flight])

    def _move(self, flight: int, step: int, ready_ps: int) -> int:
        """Move a flight's vectors from a step to the next one's digital unit.

        Nothing moves while both are the same unit.

        Args:
            flight: which.
            step: the step that is done.
            ready_ps: when the last vector is at its digital unit.

        Returns:
            When the last vector is at the next step's digital unit.
        """
        unit, after = (self._digital_unit(flight, s) for s in (step, step + 1))
        if unit == after:
            return ready_ps
        size, flits, first = self.size[flight], self.out_flits[step], self.first_digital
        start = ready_ps - (size - 1) * flits * self.cycle_ps
        return send_train(self.net, start, ready_ps, first + unit, first + after, flits, size)

    def _on_visit(self, event: Any) -> None:
        """The first vector of a visit is at its tiles: reserve the ADC groups."""
        visit: Visit = event.value
        now, site, size = self.env.now, visit.site, visit.size
        self.replicas.begin(site, size)
        interval = self.interval_ps[site]
        start = max(now, *[self.server_free[s] for s in self.servers_of[site]])
        if self.plan.tiers > 1:
            start = max(start, self._tiers_ready(site))
        if self.power_limited:
            power, ready = self.power_nw[site], start
            start = self.power[self.chip_of[site]].start_ps(now, start, power)
            self.power_stall_ps += start - ready
        if self.numbers is not None:
            self.numbers.serve(visit, start)
        taken_in = max(start + interval * size, visit.tail_ps + interval)
        if self.power_limited:
            self.power[self.chip_of[site]].reserve(taken_in, power)
        if self.plan.tiers > 1:
            self._read_tiers(site, start, taken_in)
        for server in self.servers_of[site]:
            self.server_free[server] = taken_in
            self.server_busy[server] += interval * size
        if self.plan.transport.contended:
            moved = self._inside_each(visit, start + interval, taken_in)
            first, after = min(moved), max(moved)
        else:
            first, after = start + interval, self._inside(visit, start + interval, taken_in)
        visit.arrived_ps = now
        visit.first_ps = first + self.fill_ps[site]
        visit.finish_ps = after + self.fill_ps[site]
        visit.parts[QUEUE] += start - now
        converting = self.adc_interval_ps[site] * size + self.adc_fill_ps[site]
        visit.parts[COMPUTE] += interval * size + self.fill_ps[site] - converting
        visit.parts[ADC] += converting
        visit.parts[NOC] += after - start - interval * size
        self.site_vectors[site] += size
        self.site_visits[site] += 1
        expert = self.expert_of_site[site] if visit.expert == NONE else visit.expert
        if expert != NONE:
            self.expert_vectors[expert] += size
        if self.record:
            self.visit_log.append(
                (visit.flight, self.at_step[visit.flight], site, expert, size,
                 now, start, visit.finish_ps, taken_in)
            )  # fmt: skip
        for tile in self.buffers.release(visit):
            self._arm(tile)
        self._unpin(visit)
        self.pending[visit.flight] -= 1
        if self.pending[visit.flight] == 0:
            self._gather(visit.flight)

    def _tiers_ready(self, site: int) -> int:
        """Return when a visit may begin that asks last.

        It shares a tile only with readings of its own tier; another tier needs a switch, once all
        are over; its own tier is there from when the visit begins that switched to it.
        """
        now = ready = self.env.now
        for tile, tier, turns in self.tiers_of[site]:
            readings = self.readings[tile]
            for _, end, other, alone in readings:
                if other != tier or alone or turns:
                    ready = max(ready, end)
            if tier != (readings[-1][2] if readings else 0):
                over = max([now, *[end for _, end, _, _ in readings]])
                ready = max(ready, over + self.switch_ps)
            first = len(readings)
            while first and readings[first - 1][2] == tier:
                first -= 1
            if first < len(readings) and (first or tier):
                ready = max(ready, readings[first][0])
        return ready

    def _read_tiers(self, site: int, start: int, end: int) -> None:
        for tile, tier, turns in self.tiers_of[site]:
            readings = self.readings[tile]
            active = readings[-1][2] if readings else 0
            self.tier_switches[tile] += int(tier != active) + turns
            readings.append((start, end, tier, turns > 0))

    def _inside(self, visit: Visit, first_ps: int, last_ps: int) -> int:
        """Move partial sums and activations between the tiles of a visit."""
        pairs = self.pairs_of[visit.site]
        at = 0
        while at < len(pairs):
            current, ready = pairs[at][0], last_ps
            while at < len(pairs) and pairs[at][0] == current:
                _, source, target, flits = pairs[at]
                done = send_train(self.net, first_ps, ready, source, target, flits, visit.size)
                last_ps = max(last_ps, done)
                at += 1
        return last_ps

    def _inside_each(self, visit: Visit, first_ps: int, last_ps: int) -> list[int]:
        """Move each vector as it has been taken in, round by round; return when it is there."""
        moved = []
        for time_ps in spread(first_ps, last_ps, visit.size):
            ready = time_ps
            for _, pairs in groupby(self.pairs_of[visit.site], itemgetter(0)):
                leave = ready
                for _, source, target, flits in pairs:
                    ready = max(ready, self._one(leave, source, target, flits))
            moved.append(ready)
        return moved

    def _one(self, ready: int, source: int, target: int, flits: int) -> int:
        """Send one vector; return when it is there."""
        return send_train(self.net, ready, ready, source, target, flits, 1)

    def _results(self, visit: Visit, port: int) -> int:
        """Send every piece of each result when it is ready; return the last arrival."""
        outs = list(zip(*self.outs[visit.site], strict=True))
        return max(
            self._one(ready, tile, port, flits)
            for ready in spread(visit.first_ps, visit.finish_ps, visit.size)
            for tile, flits in outs
        )

    def _gather(self, flight: int) -> None:
        """All visits of a stage have started: send their results back."""
        visits, step = self.visits_of[flight], self.at_step[flight]
        port, arrival = self._digital_port(flight), 0
        if self.summed[step]:
            for k, visit in enumerate(visits):
                self.ports[k] = self.outs[visit.site][0][0]
                self.masks[k] = visit.mask
                self.times[0, k] = visit.first_ps
                self.times[1, k] = visit.finish_ps
            arrival = reduce_train(
                self.net, self.times[0], self.times[1], self.ports, self.masks, len(visits),
                port, self.out_flits[step],
            )  # fmt: skip
        else:
            for visit in visits:
                if self.plan.transport.contended:
                    arrival = max(arrival, self._results(visit, port))
                    continue
                for tile, flits in zip(*self.outs[visit.site], strict=True):
                    done = send_train(
                        self.net, visit.first_ps, visit.finish_ps, tile, port, flits, visit.size
                    )
                    arrival = max(arrival, done)
        arrival = self._move(flight, step, arrival)
        last = max(visits, key=lambda v: v.finish_ps)  # the first of equals
        parts = self.parts[flight]
        for i, part in enumerate(last.parts):
            parts[i] += part
        parts[NOC] += arrival - last.finish_ps
        self.visits_of[flight] = []
        self.at_step[flight] += 1
        self._at(arrival, self._stage_done, flight)

    # ------------------------------------------------------------------ tile buffers

    def _room(self, visit: Visit) -> bool:
        """Take room in the buffers of a visit's tiles, or queue for it."""
        tile = self.buffers.admit(visit, self.env.now)
        if tile == NONE:
            return True
        visit.asked_ps = self.env.now
        self._arm(tile)
        return False

    def _arm(self, tile: int) -> None:
        """Look at a tile's queue again when its buffer next gets room."""
        time_ps = self.buffers.next_try_ps(tile)
        if time_ps != NONE:
            self._at(max(time_ps, self.env.now), self._on_room, tile)

    def _on_room(self, event: Any) -> None:
        tile, now = event.value, self.env.now
        admitted, moved = self.buffers.retry(tile, now)
        for visit in admitted:
            visit.parts[QUEUE] += now - visit.asked_ps
            self._send(visit.flight, [visit])
        for other in moved:
            self._arm(other)
        self._arm(tile)

    # ------------------------------------------------------------------ expert switching

    def _resident(self, visit: Visit) -> bool:
        """Whether a visit's expert is resident; if not, have it loaded."""
        if visit.expert == NONE or self.residency.hit(visit):
            return True
        if self.residency.wanted(visit.expert):
            home = self.residency.home[visit.expert]
            self.residency.queues[home].append(visit.expert)
            self._serve_slots(home)
        return False

    def _serve_slots(self, chip: int) -> None:
        """Start loads while experts of a chip queue and slots of it are free."""
        queue = self.residency.queues[chip]
        while queue:
            slot = self.residency.victim(chip)
            if slot == NONE:
                return
            self._load(queue.popleft(), slot)

    def _load(self, expert: int, slot: int) -> None:
        """Fetch an expert's weights from memory and send them to a slot's tiles."""
        slots, ports, now = self.plan.slots, self.plan.transport.ports, self.env.now
        chip = self.chip_of[self.residency.site[slot]]
        left = self._memory(chip, int(slots.fetch_ps[expert]), EXPERT, expert, NONE)
        fetched = left + self.plan.memory.latency_ps
        flits, arrived = int(slots.fetch_flits[expert]), fetched
        channels = ports.n_channels // self.plan.chips
        for channel in range(chip * channels, (chip + 1) * channels):
            for tile in self.tiles_of[self.residency.site[slot]]:
                port = ports.first_channel + channel
                done = send_train(self.net, fetched, fetched, port, tile, flits, 1)
                arrived = max(arrived, done)
        self.residency.begin(slot, Load(expert, now, fetched, arrived))
        self._at(arrived, self._on_weights, slot)

    def _prefetch(self, flight: int, layer: int) -> None:
        """Keep or load the experts that the flight will probably choose in the next layer."""
        first, size, residency = self.first[flight], self.size[flight], self.residency
        if layer > 0:
            self.next_layer.learn(first, size, layer)
        if layer + 1 == self.plan.experts.shape[1]:
            return
        base = (layer + 1) * self.plan.n_experts
        likely = [base + e for e in self.next_layer.predict(first, size, layer)]
        for expert in likely:
            if residency.slot_of[expert] != NONE:
                residency.touch(residency.slot_of[expert])
        for expert in likely:
            movable, home = self.plan.slots.write_ps[expert] > 0, residency.home[expert]
            if movable and residency.slot_of[expert] == NONE and not residency.queues[home]:
                slot = residency.victim(home)
                if slot != NONE:
                    self._load(expert, slot)

    def _on_weights(self, event: Any) -> None:
        """Weights are at a slot: write them when its ADC groups are free."""
        slot = event.value
        load = self.residency.loading[slot]
        assert load is not None
        servers = self.servers_of[self.residency.site[slot]]
        work = int(self.plan.slots.write_ps[load.expert])
        load.write_ps = max(self.env.now, *[self.server_free[s] for s in servers])
        load.end_ps = load.write_ps + work
        for server in servers:
            self.server_free[server] = load.end_ps
            self.server_write[server] += work
        if self.record:
            self.load_log.append(
                (slot, load.expert, load.start_ps, load.fetched_ps, load.arrived_ps,
                 load.write_ps, load.end_ps)
            )  # fmt: skip
        self._at(load.end_ps, self._on_written, slot)

    def _on_written(self, event: Any) -> None:
        if self.numbers is not None:
            self.numbers.written(event.value, self.residency.holds[event.value], self.env.now)
        for visit in self.residency.end(event.value, self.env.now):
            if self._room(visit):
                self._send(visit.flight, [visit])
        self._serve_slots(self.residency.chip[event.value])

    def _unpin(self, visit: Visit) -> None:
        if visit.expert != NONE:
            slot = self.residency.slot_of[visit.expert]
            self.residency.pins[slot] -= 1
            if self.residency.pins[slot] == 0:
                self._serve_slots(self.residency.chip[slot])


def spread(first: int, last: int, count: int) -> list[int]:
    """Return when each of some vectors is ready, evenly from the first to the last."""
    if count == 1:
        return [max(first, last)]
    return [first + (last - first) * k // (count - 1) for k in range(count)]


def rows_of(pointer: NDArray[np.int64], flat: NDArray[np.int64]) -> list[list[int]]:
    """Return the rows of a flat array as lists."""
    ends = pointer.tolist()
    return [flat[a:b].tolist() for a, b in pairwise(ends)]
