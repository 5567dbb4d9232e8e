"""The range of validity of the packet-level network: judged by hand, and kept."""

from __future__ import annotations

import numpy as np
import pytest
from twins.packet_load import packet_latency

from cimsim.chip.topology import Topology
from cimsim.engine.noc.curve import Sampling, measure_point
from cimsim.engine.noc.flit_state import FlitSettings
from cimsim.engine.noc.packet import WAIT_PS, NocTiming, PacketState, packet_state, send
from cimsim.engine.noc.traffic import Traffic
from cimsim.engine.noc.validity import LIMITS, PacketValidity, judge_packets

MESH = Topology("mesh", 4, 4)


def judged(state: PacketState, elapsed_ps: int) -> PacketValidity:
    first = MESH.router_links * MESH.routers
    return judge_packets(state.used, slice(first, first + MESH.nodes), elapsed_ps, MESH.link_name)


def test_a_busy_link_puts_a_run_outside_and_is_named() -> None:
    state = packet_state(MESH, NocTiming(16, 1))
    for now in range(10):
        send(state, now, 0, 1, 1)  # over link 0: ten cycles
    found = judged(state, 20)
    assert (found.inside, found.utilisation, found.limit) == (False, 0.5, 0.4)
    assert found.link == "router (0,0) +x"
    assert found.packet_flits == 1.0
    assert "outside" in found.sentence()
    assert judged(state, 25).inside


def test_waits_are_counted_once_a_packet() -> None:
    state = packet_state(MESH, NocTiming(16, 1))
    send(state, 0, 0, 1, 4)
    send(state, 0, 0, 1, 4)
    assert state.used[:, WAIT_PS].sum() == 4  # 0 and 4 cycles


def test_packets_longer_than_measured_are_never_inside() -> None:
    state = packet_state(MESH, NocTiming(16, 1))
    send(state, 0, 0, 1, 65)
    found = judged(state, 10**6)
    assert not found.inside
    assert found.error is None


def test_an_idle_network_is_inside() -> None:
    found = judged(packet_state(MESH, NocTiming(16, 1)), 10)
    assert found.inside
    assert found.utilisation == 0.0


@pytest.mark.full
@pytest.mark.parametrize("shape", [MESH, Topology("mesh", 8, 8), Topology("torus", 8, 8)], ids=str)
@pytest.mark.parametrize("row", LIMITS, ids=str)
def test_errors_at_the_limits_are_as_stated(
    shape: Topology, row: tuple[float, float, float]
) -> None:
    flits, limit, error = int(row[0]), row[1], row[2]
    probe = Traffic("uniform", 0.1, flits)
    at_a_tenth = packet_latency(shape, probe, 20_000 * flits, 1000)[1]
    rate = 0.1 * limit / at_a_tenth[: 4 * shape.routers].max()
    load = Traffic("uniform", rate, flits)
    simple, _ = packet_latency(shape, load, 20_000 * flits, 1000)
    sampling = Sampling(period_cycles=1000 * max(1, flits // 8), precision=0.005)
    exact = measure_point(FlitSettings(shape), load, sampling)
    assert exact.latency_mean is not None
    assert exact.latency_ci95 is not None
    allowed = error * exact.latency_mean + exact.latency_ci95
    assert np.abs(simple - exact.latency_mean) <= allowed
