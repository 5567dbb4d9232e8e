"""The flit-level network: latencies by hand, its plain twin, conservation, no deadlock."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twins.flit_network import FlitTwin

import cimsim.engine.noc.flit_state as f
from cimsim.chip.topology import Topology
from cimsim.engine.noc.flit import RUNNING, STUCK, run_cycles
from cimsim.engine.noc.flit_build import flit_state
from cimsim.engine.noc.flit_state import FlitSettings, FlitState, flit_traffic
from cimsim.engine.noc.traffic import Traffic
from cimsim.errors import CimsimError
from tests.noc.ways import route_length

PATTERNS = ["uniform", "transpose", "tornado", "neighbor", "bitcomp", "shuffle"]


def simulate(network: FlitSettings, traffic: Traffic, cycles: int) -> FlitState:
    state = flit_state(network, cycles, log=cycles * network.shape.nodes)
    assert run_cycles(state, flit_traffic(network.shape, traffic), cycles, 0) == RUNNING
    return state


def logged(state: FlitState) -> list[tuple[int, ...]]:
    return sorted(map(tuple, state.log[: state.totals[f.LOGGED]].tolist()))


def quiet(load: f.FlitTraffic, state: FlitState) -> f.FlitTraffic:
    """Return the same traffic with no further packets."""
    state.nodes[:, f.NEXT_TRIAL] = state.totals[f.TIME]
    return load._replace(threshold=np.uint64(0))


@pytest.mark.parametrize("flits", [1, 8])
def test_a_lonely_packet_takes_four_cycles_a_router(flits: int) -> None:
    shape = Topology("mesh", 8, 8)
    state = simulate(FlitSettings(shape), Traffic("uniform", 1e-4 * flits, flits, seed=2), 4000)
    tails = [entry for entry in logged(state) if entry[4] & 1]
    assert len(tails) > 10
    for cycle, node, source, created, _ in tails:
        routers = route_length(shape, source, node)
        assert cycle - created == 4 * routers + 2 + flits - 1


@st.composite
def networks(draw: st.DrawFn) -> tuple[FlitSettings, Traffic]:
    kind = draw(st.sampled_from(["mesh", "mesh", "torus", "cmesh"]))
    nodes = draw(st.integers(2, 4)) if kind == "cmesh" else 1
    shape = Topology(kind, draw(st.integers(1, 4)), draw(st.integers(1, 4)), nodes)
    vcs = draw(st.integers(2 if kind == "torus" else 1, 5))
    network = FlitSettings(shape, vcs, draw(st.integers(1, 8)))
    rate = draw(st.sampled_from([0.02, 0.2, 0.5, 0.9, 1.0]))
    flits = draw(st.integers(1, 9))
    seed = draw(st.integers(0, 2**40))
    pattern = draw(st.sampled_from(PATTERNS))
    traffic = Traffic(pattern, rate, flits, seed)
    try:
        traffic.targets(shape)
    except CimsimError:
        traffic = replace(traffic, pattern="uniform")
    return network, traffic


def check_twin(network: FlitSettings, traffic: Traffic, cycles: int) -> None:
    twin = FlitTwin(network, traffic)
    twin.run(cycles)
    assert logged(simulate(network, traffic, cycles)) == sorted(twin.log)


def test_kernel_and_plain_twin_eject_the_same_flits_in_the_same_cycles(scaled) -> None:
    @settings(max_examples=scaled(200), suppress_health_check=list(HealthCheck))
    @given(networks())
    def check(case: tuple[FlitSettings, Traffic]) -> None:
        check_twin(*case, cycles=150)

    check()


def test_kernel_and_plain_twin_agree_on_an_8x8_mesh_near_saturation() -> None:
    check_twin(FlitSettings(Topology("mesh", 8, 8)), Traffic("uniform", 0.4, 8, 7), 150)


def test_every_flit_arrives_once_in_order_and_nothing_is_left_behind(scaled) -> None:
    @settings(max_examples=scaled(200), suppress_health_check=list(HealthCheck))
    @given(networks())
    def check(case: tuple[FlitSettings, Traffic]) -> None:
        network, traffic = case
        state = simulate(network, traffic, 300)
        load = quiet(flit_traffic(network.shape, traffic), state)
        run_cycles(state, load, 60_000, 0)
        totals = state.totals
        assert totals[f.EJECTED_FLITS] == totals[f.INJECTED_FLITS]
        assert totals[f.FREE] == state.free.size
        assert (state.outs[:, f.CREDITS] == network.buffer_flits).all()
        assert (state.outs[:, f.IN_USE] == 0).all()
        assert (state.node_vcs[:, f.CREDITS] == network.buffer_flits).all()
        assert (state.vcs[:, f.COUNT] == 0).all()
        packets: dict[tuple[int, int], list[int]] = {}
        for _, _, source, created, kind in logged(state):
            packets.setdefault((source, created), []).append(kind)
        whole = [3] if traffic.packet_flits == 1 else [2, *[0] * (traffic.packet_flits - 2), 1]
        assert all(kinds == whole for kinds in packets.values())

    check()


@pytest.mark.parametrize("pattern", ["uniform", "tornado"])
def test_a_saturated_torus_with_one_flit_buffers_does_not_deadlock(pattern: str) -> None:
    network = FlitSettings(Topology("torus", 6, 6), vcs=2, buffer_flits=1)
    state = simulate(network, Traffic(pattern, 1.0, 6), 20_000)  # type: ignore[arg-type]
    assert state.totals[f.TIME] - state.totals[f.LAST_MOVE] < 5


def test_a_ring_of_full_buffers_is_reported_as_stuck() -> None:
    network = FlitSettings(Topology("torus", 4, 1), vcs=2, buffer_flits=1)
    state = simulate(network, Traffic("tornado", 1.0, 6), 50)
    state.outs[:, f.CREDITS] = -(1 << 40)  # no buffer will ever be free again
    load = flit_traffic(network.shape, Traffic("tornado", 1.0, 6))
    assert run_cycles(state, load, 1_000_000, 0) == STUCK


def test_the_same_seed_gives_the_same_flits_and_another_seed_others() -> None:
    network = FlitSettings(Topology("mesh", 4, 4))
    first = logged(simulate(network, Traffic("uniform", 0.3, 4, 5), 300))
    assert first == logged(simulate(network, Traffic("uniform", 0.3, 4, 5), 300))
    assert first != logged(simulate(network, Traffic("uniform", 0.3, 4, 6), 300))


def test_more_virtual_channels_and_deeper_buffers_carry_more() -> None:
    shape = Topology("mesh", 4, 4)

    def carried(vcs: int, buffer_flits: int) -> int:
        state = simulate(FlitSettings(shape, vcs, buffer_flits), Traffic("uniform", 1.0, 8), 4000)
        return int(state.totals[f.EJECTED_FLITS])

    assert carried(1, 8) < 0.9 * carried(4, 8)
    assert carried(4, 2) < 0.9 * carried(4, 8)


@pytest.mark.parametrize(
    ("shape", "vcs", "buffer_flits"),
    [
        (Topology("torus", 4, 4), 1, 8),
        (Topology("mesh", 4, 4), 0, 8),
        (Topology("mesh", 4, 4), 4, 0),
        (Topology("mesh", 1000, 1000), 4, 8),
    ],
)
def test_impossible_buffers_are_refused(shape: Topology, vcs: int, buffer_flits: int) -> None:
    with pytest.raises(CimsimError):
        FlitSettings(shape, vcs, buffer_flits)
