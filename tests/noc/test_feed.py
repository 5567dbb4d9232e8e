"""Messages, multicasts and reductions on the flit-level network: twin, laws, latencies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from twins.packet_tree import multicast

import cimsim.engine.noc.flit_feed as g
import cimsim.engine.noc.flit_state as f
from cimsim.chip.topology import Topology
from cimsim.engine.noc.flit_network import FlitNetwork, node_places
from cimsim.engine.noc.flit_state import FlitSettings
from cimsim.engine.noc.flit_tree import reduction_legs, spread_order
from cimsim.engine.noc.packet import NocTiming, packet_state
from cimsim.errors import CimsimInternalError
from tests.noc.feeding import Case, Job, random_case, run_network, run_twin

JOIN_CYCLES = 6


def test_kernels_and_plain_twin_eject_the_same_flits_in_the_same_cycles(
    scaled: Callable[[int], int],
) -> None:
    joins = branches = 0
    for seed in range(scaled(400)):
        case = random_case(seed, jobs=12, span=60)
        fast, _ = run_network(case, log=1 << 12)
        slow = run_twin(case)
        assert fast == slow, f"seed {seed}: {case}"
        joins += any(leg >= len(case.jobs[job].sources) for _, _, job, leg, _, _ in fast.flits)
        branches += any(len(job.targets) > 1 for job in case.jobs)
    assert joins
    assert branches


def check_drained(case: Case, net: FlitNetwork) -> None:
    """Nothing is left: no flit, no packet, no row of a message, and every credit is back."""
    state, depth = net.state, case.settings.buffer_flits
    net.advance(net.cycle + 20)  # the last credits
    assert not net.busy
    assert state.totals[f.FREE] == state.free.size
    assert (state.outs[:, f.CREDITS] == depth).all()
    assert (state.outs[:, f.IN_USE] == 0).all()
    assert (state.node_vcs[:, f.CREDITS] == depth).all()
    assert (state.vcs[:, [f.COUNT, f.LEFT]] == 0).all()
    assert (state.sizes == 0).all()
    for name, used in net._end.items():
        free = [row + size for (n, size), rows in net._free.items() if n == name for row in rows]
        assert sum(size * len(rows) for (n, size), rows in net._free.items() if n == name) == used
        assert max(free, default=0) == used


def test_heavy_multicast_and_reduction_traffic_drains_and_arrives_once(
    scaled: Callable[[int], int],
) -> None:
    for seed in range(5000, 5000 + scaled(300)):
        case = random_case(seed, jobs=120, span=40, packets=6)
        outcome, net = run_network(case)
        assert sorted((job, node) for _, job, node in outcome.deliveries) == case.expected, seed
        check_drained(case, net)


@pytest.mark.parametrize("depth", [1, 2, 8])
def test_a_torus_full_of_crossing_multicasts_and_sums_does_not_deadlock(depth: int) -> None:
    settings = FlitSettings(Topology("torus", 4, 4), vcs=2, buffer_flits=depth)
    rng = np.random.default_rng(depth)
    jobs = []
    for k in range(400):
        others = tuple(int(n) for n in rng.permutation(16)[:7])
        one = (int(rng.integers(16)),)
        jobs.append(
            Job((0,), one, others, 3 * depth) if k % 2 else Job((0,) * 7, others, one, 3 * depth)
        )
    case = Case(settings, depth, tuple(range(16)), tuple(jobs))
    outcome, net = run_network(case)
    assert sorted((job, node) for _, job, node in outcome.deliveries) == case.expected
    check_drained(case, net)


def lonely(seed: int, flits: int, packet_flits: int) -> tuple[Case, np.random.Generator]:
    """A network of the standard buffers and one job to fill in."""
    case = random_case(seed, jobs=1, span=1)
    settings = FlitSettings(case.settings.shape, 4, 8)
    return replace(case, settings=settings, packet_flits=packet_flits), np.random.default_rng(seed)


@pytest.mark.parametrize("flits", [1, 5, 8, 64, 61])
def test_a_lonely_multicast_takes_as_long_as_at_the_packet_level(
    flits: int, scaled: Callable[[int], int]
) -> None:
    for seed in range(scaled(200)):
        case, rng = lonely(seed, flits, 8)
        nodes = len(case.node_routers)
        targets = tuple(int(n) for n in rng.permutation(nodes)[: int(rng.integers(1, nodes + 1))])
        case = replace(case, jobs=(Job((3,), (int(rng.integers(nodes)),), targets, flits),))
        shape = case.settings.shape
        source = case.jobs[0].sources[0]
        found = {node: cycle for cycle, _, node in run_network(case)[0].deliveries}
        for target in targets:
            a, b = case.node_routers[source], case.node_routers[target]
            routers = shape.distance(a, b) + 1
            assert found[target] - 3 == 4 * routers + 2 + flits - 1, (seed, case)


def test_a_lonely_multicast_equals_the_packet_level_tree() -> None:
    shape = Topology("mesh", 4, 4)
    targets = np.array([1, 3, 7, 12, 15], dtype=np.int64)
    arrivals = np.zeros(5, dtype=np.int64)
    multicast(packet_state(shape, NocTiming(4, 1)), 0, 5, targets, 8, arrivals)
    job = Job((0,), (5,), tuple(targets.tolist()), 8)
    case = Case(FlitSettings(shape), 8, tuple(range(16)), (job,))
    found = {node: cycle for cycle, _, node in run_network(case)[0].deliveries}
    assert [found[t] for t in targets.tolist()] == arrivals.tolist()


@pytest.mark.parametrize("flits", [1, 8, 64])
def test_a_lonely_reduction_costs_six_cycles_a_join_more_than_the_packet_level(
    flits: int, scaled: Callable[[int], int]
) -> None:
    most = 0
    for seed in range(scaled(200)):
        case, rng = lonely(seed, flits, 8)
        nodes = len(case.node_routers)
        count = int(rng.integers(1, nodes + 1))
        sources = tuple(int(n) for n in rng.permutation(nodes)[:count])
        target = int(rng.integers(nodes))
        case = replace(case, jobs=(Job((0,) * count, sources, (target,), flits),))
        places = node_places(case.settings, case.node_routers)
        shape = case.settings.shape
        legs = reduction_legs(places, sources, target)

        def joins(leg: int, legs=legs) -> int:  # type: ignore[no-untyped-def]
            return 0 if legs[leg].into < 0 else 1 + joins(legs[leg].into)

        due = 0
        for k, source in enumerate(sources):
            hops = shape.distance(case.node_routers[source], case.node_routers[target])
            due = max(due, 4 * (hops + 1) + 2 + flits - 1 + JOIN_CYCLES * joins(k))
            most = max(most, joins(k))
        # Alone, a single source is a message; sums of one part are not reductions.
        ((found, _, _),) = run_network(case)[0].deliveries
        assert found == due, (seed, case)
    assert most > 1


def test_a_slower_pipeline_delays_every_hop_alike() -> None:
    # Two cycles more in a router and one more on a link: 7 cycles per hop, 1 more to get in.
    delays = (3 + 3, 3 + 1, 2 + 1, 2 + 1)
    net = FlitNetwork(FlitSettings(Topology("mesh", 4, 1)), 8, range(4), delays=delays)
    net.send(0, (3,), 8)
    while not net.advance(1 << 20)[1]:
        pass
    assert net.cycle == 7 * 4 + 3 + 7


def test_branches_advance_by_themselves() -> None:
    """A branch that waits for its link does not keep the other waiting."""
    settings = FlitSettings(Topology("mesh", 3, 1), vcs=1, buffer_flits=8)
    ahead = Job((0,), (1,), (2,), 8)  # 8 flits are on their way from router 1 to 2 when ...
    late = Job((0,), (0,), (1, 2), 2)  # ... these 2 want to follow, and stay at router 1
    deliveries = run_network(Case(settings, 8, (0, 1, 2), (ahead, late)))[0].deliveries
    found = {(job, node): cycle for cycle, job, node in deliveries}
    assert found[0, 2] == 4 * 2 + 2 + 7
    assert found[1, 1] == 4 * 2 + 2 + 1
    assert found[1, 2] > 4 * 3 + 2 + 1


def test_targets_behind_each_output_follow_each_other(scaled: Callable[[int], int]) -> None:
    for seed in range(scaled(200)):
        case = random_case(seed, jobs=1, span=1)
        places, shape = node_places(case.settings, case.node_routers), case.settings.shape
        nodes = range(len(case.node_routers))
        parts = [spread_order(places, 0, nodes)]
        router = [places.router[0]]
        while parts:  # walk down the tree
            part, here = parts.pop(), router.pop()
            outputs = [shape.next_link(here, places.router[n]) for n in part]
            changes = [k for k in range(1, len(part)) if outputs[k] != outputs[k - 1]]
            starts = [0, *changes]
            assert len({outputs[k] for k in starts}) == len(starts), seed
            for low, high in zip(starts, [*changes, len(part)], strict=True):
                if outputs[low] >= 0:
                    parts.append(part[low:high])
                    router.append(shape.link_end(outputs[low]))


def test_packets_longer_than_a_buffer_are_refused() -> None:
    with pytest.raises(CimsimInternalError, match="deadlock"):
        FlitNetwork(FlitSettings(Topology("mesh", 2, 2), buffer_flits=4), 5, range(4))


def test_idle_cycles_are_skipped_and_the_clock_follows() -> None:
    net = FlitNetwork(FlitSettings(Topology("mesh", 2, 2)), 8, range(4))
    assert net.advance(1 << 40) == (g.IDLE, [])
    assert net.cycle == 1 << 40


def test_a_network_that_cannot_move_says_that_it_is_stuck() -> None:
    net = FlitNetwork(FlitSettings(Topology("mesh", 2, 2)), 8, range(4))
    net.state.outs[:, f.CREDITS] = -(1 << 40)
    net.send(0, (3,), 8)
    assert net.advance(1 << 40)[0] == g.STUCK
