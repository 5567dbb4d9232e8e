"""The packet-level network: latencies by hand, FIFO and gaps, trees, conservation."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins.packet_load import packet_latency
from twins.packet_tree import multicast, reduce

from cimsim.chip.topology import Topology
from cimsim.engine.noc.packet import (
    BUSY_PS,
    FLITS,
    PACKETS,
    NocTiming,
    packet_state,
    send,
)
from cimsim.engine.noc.traffic import Traffic
from cimsim.errors import CimsimError
from tests.noc.ways import route_length, route_links

from .packet_twin import PacketTwin

MESH = Topology("mesh", 4, 4)
TIMING = NocTiming(flit_bytes=16, cycle_ps=500)
CURVES = Path(__file__).parent / "data" / "latency_curves.csv"


def cycles(routers: int, flits: int) -> int:
    """Latency without contention, in cycles."""
    return 4 * routers + 2 + flits - 1


@given(st.integers(0, 15), st.integers(0, 15), st.integers(1, 40), st.integers(0, 10**12))
def test_an_idle_network_has_the_zero_load_latency(
    source: int, target: int, flits: int, now: int
) -> None:
    state = packet_state(MESH, TIMING)
    routers = route_length(MESH, source, target)
    assert send(state, now, source, target, flits) == now + 500 * cycles(routers, flits)


def test_two_packets_of_one_node_leave_one_after_the_other() -> None:
    state = packet_state(MESH, TIMING)
    first = send(state, 0, 0, 3, 8)
    assert send(state, 0, 0, 3, 8) == first + 8 * 500


def test_two_packets_to_one_node_share_its_ejection_port() -> None:
    state = packet_state(MESH, TIMING)
    first = send(state, 0, 1, 0, 8)  # both are two routers away
    assert send(state, 0, 4, 0, 8) == first + 8 * 500


def test_a_later_packet_uses_a_gap_and_delays_nobody() -> None:
    state = packet_state(MESH, TIMING)
    far = send(state, 0, 0, 3, 1)  # is on link 2 -> 3 only from cycle 13 on
    assert send(state, 500, 2, 3, 1) == 500 + 500 * cycles(2, 1)
    assert far == 500 * cycles(4, 1)


def test_flits_of_a_packet_are_its_payload_in_link_widths() -> None:
    assert [TIMING.flits(b) for b in (0, 1, 16, 17, 512)] == [1, 1, 1, 2, 32]


@pytest.mark.parametrize("name", ["flit_bytes", "cycle_ps", "link_cycles", "buffer_flits"])
def test_a_link_without_width_clock_or_delay_is_refused(name: str) -> None:
    values = {"flit_bytes": 16, "cycle_ps": 500, name: 0}
    with pytest.raises(CimsimError, match=name):
        NocTiming(**values)


packets = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 15), st.integers(0, 15), st.integers(1, 12)),
    min_size=1,
    max_size=60,
)


@given(packets)
def test_links_carry_every_flit_once_and_never_two_at_a_time(sent) -> None:
    state = packet_state(MESH, NocTiming(16, 1))
    flits = np.zeros(MESH.links, dtype=np.int64)
    latest = 0
    for gap, source, target, size in sent:
        now = gap
        arrival = send(state, now, source, target, size)
        assert arrival >= now + cycles(route_length(MESH, source, target), size)
        flits[route_links(MESH, source, target)] += size
        latest = max(latest, arrival)
    assert state.used[:, FLITS].tolist() == flits.tolist()
    assert (state.used[:, BUSY_PS] == flits).all()
    assert (state.used[:, BUSY_PS] <= latest).all()
    for row in state.reserved:
        bounds = row[2 : 2 + 2 * row[0]]
        assert (np.diff(bounds) > 0).all()


SHAPES = st.sampled_from([MESH, Topology("torus", 3, 4), Topology("cmesh", 2, 2, 4)])
SENT = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 11), st.integers(0, 11), st.integers(1, 60)),
    min_size=1,
    max_size=40,
)


@given(SHAPES, st.integers(1, 40), SENT)
def test_the_kernel_and_its_plain_twin_give_the_same_arrivals(
    shape: Topology, buffer: int, sent
) -> None:
    timing = NocTiming(16, 7, 2, 3, interface_cycles=0, buffer_flits=buffer)
    state, twin = packet_state(shape, timing, vectors=40), PacketTwin(shape, timing)
    for now, source, target, flits in sent:
        assert send(state, now, source, target, flits) == twin.send(now, source, target, flits)


@given(SHAPES, SENT)
def test_a_link_that_gives_up_gaps_is_late_and_never_serves_two(shape: Topology, sent) -> None:
    timing = NocTiming(16, 1, buffer_flits=1 << 20)
    state = packet_state(shape, timing)
    state = state._replace(reserved=np.zeros((shape.links, 2 + 2 * 4), dtype=np.int64))
    flits = np.zeros(shape.links, dtype=np.int64)
    for now, source, target, size in sent:
        arrival = send(state, now, source, target, size)
        flits[route_links(shape, source, target)] += size
        assert arrival >= now + cycles(route_length(shape, source, target), size)
    for row, carried in zip(state.reserved, flits, strict=True):
        bounds = row[2 : 2 + 2 * row[0]]
        assert (np.diff(bounds) > 0).all()
        assert row[1] + (bounds[1::2] - bounds[::2]).sum() >= carried


def test_a_message_that_waits_holds_its_sender_up() -> None:
    state = packet_state(MESH, NocTiming(16, 1, buffer_flits=8))
    send(state, 0, 1, 2, 100)
    # Starts on link 1 -> 2 in cycle 105, when the first has left it.
    second = send(state, 0, 0, 2, 40)
    assert second == 105 + 1 + 4 + 39
    # Node 0 sends its next message, to another side, when the tail has room: 105 + 40 - 2 (8 - 3).
    assert send(state, 0, 0, 4, 1) == 105 + 40 - 2 * 5 + 1 + 2 * 4


def test_a_multicast_uses_every_link_of_its_tree_once() -> None:
    state = packet_state(MESH, TIMING)
    targets = np.array([3, 7, 15, 4, 0, 3])
    arrivals = np.zeros(6, dtype=np.int64)
    last = multicast(state, 1000, 0, targets, 4, arrivals)
    links = {int(k) for t in targets for k in route_links(MESH, 0, int(t))}
    assert set(np.flatnonzero(state.used[:, PACKETS]).tolist()) == links
    assert state.used[:, PACKETS].max() == 1
    expected = [1000 + 500 * cycles(route_length(MESH, 0, int(t)), 4) for t in targets]
    assert arrivals.tolist() == expected
    assert last == max(expected)


def test_a_multicast_to_one_node_is_a_send() -> None:
    one, other = packet_state(MESH, TIMING), packet_state(MESH, TIMING)
    for source, target in ((0, 15), (3, 12), (5, 5), (0, 15)):
        assert multicast(one, 0, source, np.array([target]), 3, np.zeros(1, np.int64)) == send(
            other, 0, source, target, 3
        )
    assert (one.used == other.used).all()


def test_a_reduction_adds_where_branches_meet_and_uses_every_link_once() -> None:
    state = packet_state(MESH, TIMING)
    sources = np.array([1, 2, 3, 5])  # 3, 2, 1 share a row; 5 joins at router 4, then 0
    done, additions = reduce(state, np.zeros(4, np.int64), sources, 0, 2, 0)
    links = {int(k) for s in sources for k in route_links(MESH, int(s), 0)}
    assert set(np.flatnonzero(state.used[:, PACKETS]).tolist()) == links
    assert state.used[:, PACKETS].max() == 1
    assert additions == 3
    assert done == 500 * cycles(4, 2)  # the farthest source, node 3


def test_an_adding_router_takes_its_time() -> None:
    sources, ready = np.array([1, 2]), np.zeros(2, np.int64)
    plain, _ = reduce(packet_state(MESH, TIMING), ready, sources, 0, 1, 0)
    slow, _ = reduce(packet_state(MESH, TIMING), ready, sources, 0, 1, 700)
    assert slow == plain + 700


@given(st.lists(st.integers(0, 15), min_size=1, max_size=16, unique=True), st.integers(0, 15))
def test_a_reduction_of_n_sums_makes_n_minus_1_additions(sources, target: int) -> None:
    state = packet_state(MESH, TIMING)
    ready = np.arange(len(sources), dtype=np.int64) * 1000
    done, additions = reduce(state, ready, np.array(sources), target, 2, 100)
    assert additions == len(sources) - 1
    assert done >= max(
        int(r) + 500 * cycles(route_length(MESH, s, target), 2)
        for r, s in zip(ready, sources, strict=True)
    )


def test_the_torus_carries_trees_too() -> None:
    shape = Topology("torus", 4, 5)
    everyone = np.arange(20)
    for root in range(20):
        state = packet_state(shape, TIMING)
        multicast(state, 0, root, everyone, 1, np.zeros(20, np.int64))
        assert state.used[:, PACKETS].max() == 1
        _, additions = reduce(state, np.zeros(20, np.int64), everyone, root, 1, 0)
        assert additions == 19
        assert state.used[: 4 * 20, PACKETS].sum() == 2 * 19


def reference(mesh: int, traffic: str, flits: int, highest: float) -> list[tuple[float, float]]:
    with CURVES.open() as file:
        return [
            (float(row["offered_flits_node_cycle"]), float(row["pkt_lat_cycles"]))
            for row in csv.DictReader(file)
            if (row["mesh_k"], row["traffic"], row["packet_flits"])
            == (str(mesh), traffic, str(flits))
            and float(row["offered_flits_node_cycle"]) <= highest
        ]


@pytest.mark.parametrize(
    ("mesh", "traffic", "flits", "highest", "bound"),
    [
        (8, "uniform", 1, 0.25, 0.02),  # 60 % of saturation
        (4, "uniform", 1, 0.4, 0.02),
        (8, "transpose", 1, 0.135, 0.02),
        (4, "transpose", 1, 0.31, 0.02),
        (8, "uniform", 8, 0.2, 0.04),
        (4, "uniform", 8, 0.1, 0.04),
        (8, "transpose", 8, 0.09, 0.04),
        (4, "transpose", 8, 0.24, 0.04),
    ],
)
def test_mean_latency_is_close_to_the_reference_inside_the_range_of_validity(
    mesh: int, traffic: str, flits: int, highest: float, bound: float
) -> None:
    shape = Topology("mesh", mesh, mesh)
    for rate, latency in reference(mesh, traffic, flits, highest):
        load = Traffic(traffic, rate, flits, seed=5)  # type: ignore[arg-type]
        mean, _ = packet_latency(
            shape, load, cycles=150_000 if rate < 0.04 else 40_000, warmup_cycles=4_000
        )
        assert mean == pytest.approx(latency, rel=bound), rate
