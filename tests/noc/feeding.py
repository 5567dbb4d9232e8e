"""Generated messages for the flit-level network and its twin, and how to run both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from twins.flit_feed import FeedTwin

from cimsim.chip.topology import Topology
from cimsim.engine.noc.flit_feed import DELIVERED, STUCK
from cimsim.engine.noc.flit_network import FlitNetwork
from cimsim.engine.noc.flit_state import LOGGED, FlitSettings


@dataclass(frozen=True)
class Job:
    """A message (one source), or a reduction (one target), with the cycles of its parts."""

    cycles: tuple[int, ...]
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    flits: int


@dataclass(frozen=True)
class Case:
    """A network and its jobs."""

    settings: FlitSettings
    packet_flits: int
    node_routers: tuple[int, ...]
    jobs: tuple[Job, ...]

    @property
    def expected(self) -> list[tuple[int, int]]:
        """Job and node of every delivery that is due."""
        return sorted((k, node) for k, job in enumerate(self.jobs) for node in job.targets)


def random_case(
    seed: int,
    *,
    jobs: int,
    span: int,
    packets: int = 3,
    kinds: tuple[str, ...] = ("mesh",) * 2 + ("torus", "cmesh"),
) -> Case:
    """Draw a small network and messages, multicasts and reductions in its first cycles."""
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(kinds))
    width, height = (int(n) for n in rng.integers(1, 5, 2))
    shape = Topology(kind, width, height, int(rng.integers(2, 4)) if kind == "cmesh" else 1)  # type: ignore[arg-type]
    depth = int(rng.integers(1, 9))
    settings = FlitSettings(shape, int(rng.integers(2 if kind == "torus" else 1, 5)), depth)
    packet_flits = int(rng.integers(1, depth + 1))
    nodes = int(rng.integers(2, 2 * shape.routers + 3))
    routers = tuple(int(r) for r in rng.integers(0, shape.routers, nodes))
    made = []
    for _ in range(jobs):
        flits = int(rng.integers(1, packets * packet_flits + 1))
        many = tuple(
            int(n) for n in rng.permutation(nodes)[: int(rng.integers(1, min(nodes, 6) + 1))]
        )
        one = int(rng.integers(nodes))
        if rng.random() < 0.5:
            made.append(Job((int(rng.integers(span)),), (one,), many, flits))
        else:
            extra = many[: int(rng.integers(2))]  # now and then two parts of one node
            cycles = tuple(int(c) for c in rng.integers(0, span, len(many + extra)))
            made.append(Job(cycles, many + extra, (one,), flits))
    return Case(settings, packet_flits, routers, tuple(made))


@dataclass(frozen=True)
class Outcome:
    """What a run gave: flits (cycle, node, job, leg, packet, kind) and deliveries, sorted."""

    flits: list[tuple[int, ...]]
    deliveries: list[tuple[int, int, int]]


def starts(case: Case) -> list[tuple[int, int, int]]:
    """Return cycle, job and source of everything that starts, in order."""
    return sorted(
        (cycle, k, part) for k, job in enumerate(case.jobs) for part, cycle in enumerate(job.cycles)
    )


def run_network(case: Case, log: int = 0, limit: int = 1 << 20) -> tuple[Outcome, FlitNetwork]:
    """Run the kernels; messages are started at their cycles."""
    net = FlitNetwork(case.settings, case.packet_flits, case.node_routers, log=log)
    names: dict[int, tuple[int, int]] = {}
    sums: dict[int, tuple[int, ...]] = {}
    deliveries = []
    logged: list[tuple[int, ...]] = []

    def collect() -> None:
        """Give what was logged the names of jobs, before numbers are used again."""
        count = int(net.state.totals[LOGGED])
        for cycle, node, message, index, kind in net.state.log[:count].tolist():
            logged.append((cycle, node, *names[message], index, kind))
        net.state.totals[LOGGED] = 0

    def go(until: int) -> None:
        while net.cycle < until:
            why, found = net.advance(until)
            assert why != STUCK, "deadlock"
            collect()
            deliveries.extend((net.cycle, names[message][0], node) for message, node, _ in found)
            if why != DELIVERED and not net.busy and until == limit:
                return

    for cycle, k, part in starts(case):
        go(cycle)
        job = case.jobs[k]
        if len(job.sources) == 1:
            message = net.send(job.sources[0], job.targets, job.flits)
            names[message] = k, 0
            continue
        if k not in sums:
            sums[k] = net.reduce(job.sources, job.targets[0], job.flits)
            for leg, message in enumerate(sums[k]):
                names[message] = k, leg
        net.start(sums[k][part])
    go(limit)
    return Outcome(sorted(logged), sorted(deliveries)), net


def run_twin(case: Case, limit: int = 20_000) -> Outcome:
    """Run the plain twin."""
    twin = FeedTwin(case.settings, case.packet_flits, case.node_routers)
    todo, room, open_sums = starts(case), 1000, set()
    deliveries = []
    while todo or not twin.drained:
        assert twin.now < limit
        deliveries += [(cycle, name // room, node) for cycle, name, node in twin.eject()]
        while todo and todo[0][0] == twin.now:
            _, k, part = todo.pop(0)
            job = case.jobs[k]
            if len(job.sources) == 1:
                twin.send(room * k, job.sources[0], job.targets, job.flits)
                continue
            if k not in open_sums:
                open_sums.add(k)
                names = range(room * k, room * k + len(job.sources))
                twin.reduce(names, job.sources, job.targets[0], job.flits)
            twin.start(room * k + part)
        twin.finish_cycle()
    flits = [(c, node, *divmod(name, room), i, kind) for c, node, name, i, kind in twin.log]
    return Outcome(sorted(flits), sorted(deliveries))
