"""Synthetic traffic: patterns by hand, rates, hotspots, addressed draws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cimsim.chip.topology import Topology
from cimsim.engine.noc.flit_state import flit_traffic
from cimsim.engine.noc.traffic import START, Traffic, destination, draw, starts_packet
from cimsim.errors import CimsimError

MESH = Topology("mesh", 4, 4)
MASK = (1 << 64) - 1


def targets(pattern: str, shape: Topology = MESH) -> list[int]:
    return Traffic(pattern, 0.1).targets(shape).tolist()  # type: ignore[arg-type]


def test_transpose_swaps_coordinates() -> None:
    assert [targets("transpose")[n] for n in (0, 1, 4, 7, 15)] == [0, 4, 1, 13, 15]


def test_tornado_goes_just_less_than_half_way_round_each_dimension() -> None:
    # (c + ceil(4 / 2) - 1) mod 4 = c + 1; of 5: c + 2.
    assert [targets("tornado")[n] for n in (0, 3, 15)] == [5, 4, 0]
    assert targets("tornado", Topology("mesh", 5, 1)) == [2, 3, 4, 0, 1]


def test_neighbor_goes_one_step_in_each_dimension() -> None:
    assert [targets("neighbor")[n] for n in (0, 3, 15)] == [5, 4, 0]
    assert targets("neighbor", Topology("mesh", 5, 1)) == [1, 2, 3, 4, 0]


def test_bitcomp_inverts_and_shuffle_rotates_the_address() -> None:
    assert [targets("bitcomp")[n] for n in (0, 5, 15)] == [15, 10, 0]
    assert [targets("shuffle")[n] for n in (1, 8, 12, 15)] == [2, 1, 9, 15]


@pytest.mark.parametrize("pattern", ["transpose", "tornado", "neighbor", "bitcomp", "shuffle"])
def test_fixed_patterns_are_permutations(pattern: str) -> None:
    assert sorted(targets(pattern)) == list(range(16))
    assert sorted(targets(pattern, Topology("cmesh", 4, 4, 4))) == list(range(64))


def test_patterns_that_a_grid_does_not_have_are_refused() -> None:
    for pattern, shape in (
        ("transpose", Topology("mesh", 4, 2)),
        ("bitcomp", Topology("mesh", 3, 3)),
        ("shuffle", Topology("mesh", 3, 3)),
    ):
        with pytest.raises(CimsimError, match=pattern):
            targets(pattern, shape)


def splitmix(word: int) -> int:
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def test_draws_are_the_hash_of_their_address() -> None:
    # First output of SplitMix64 seeded with 0, from its authors' reference implementation.
    assert splitmix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF
    for address in ((0, 0, 0, 0), (7, 2, 63, 123456), (2**63 - 1, 1, 5, 2**40)):
        word = 0
        for part in address:
            word = splitmix(((word ^ part) + 0x9E3779B97F4A7C15) & MASK)
        assert int(draw(*address)) == word


def test_packets_start_at_the_offered_rate() -> None:
    for rate, flits in ((0.3, 1), (0.4, 8), (1.0, 1)):
        threshold = Traffic("uniform", rate, flits).start_threshold()
        started = sum(starts_packet(3, n, c, threshold) for n in range(16) for c in range(4000))
        expected = rate / flits * 64_000
        assert abs(started - expected) <= 4 * math.sqrt(expected)


def test_uniform_traffic_reaches_every_node_itself_included_equally() -> None:
    load = flit_traffic(MESH, Traffic("uniform", 0.1, seed=1))
    found = [
        destination(1, 5, cycle, 16, load.fixed, load.hot_nodes, load.hot_limits)
        for cycle in range(16_000)
    ]
    counts = np.bincount(found, minlength=16)
    assert counts.size == 16
    assert ((counts - 1000) ** 2 / 1000).sum() < 37.7  # chi-square, 15 degrees, 0.1 %


def test_hotspots_get_their_share_and_the_rest_is_uniform() -> None:
    load = flit_traffic(MESH, Traffic("hotspot", 0.1, hotspots={3: 0.25, 9: 0.125}))
    found = [
        destination(0, 0, cycle, 16, load.fixed, load.hot_nodes, load.hot_limits)
        for cycle in range(32_000)
    ]
    counts = np.bincount(found, minlength=16)
    rest = 32_000 * 0.625 / 16
    expected = np.full(16, rest)
    expected[3] += 8000
    expected[9] += 4000
    assert (np.abs(counts - expected) <= 4 * np.sqrt(expected)).all()


def test_draws_of_purposes_nodes_and_cycles_differ() -> None:
    words = {int(draw(0, p, n, c)) for p in range(4) for n in range(20) for c in range(20)}
    assert len(words) == 1600
    assert int(draw(1, START, 0, 0)) not in words


@pytest.mark.parametrize(
    "values",
    [
        {"pattern": "tornadoo"},
        {"rate": 0.0},
        {"rate": math.nan},
        {"rate": 1.5},
        {"packet_flits": 0},
        {"seed": -1},
        {"pattern": "hotspot"},
        {"hotspots": {1: 0.5}},
        {"pattern": "hotspot", "hotspots": {1: 0.7, 2: 0.7}},
        {"pattern": "hotspot", "hotspots": {1: -0.1}},
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(CimsimError):
        Traffic(**{"pattern": "uniform", "rate": 0.1, **values})  # type: ignore[arg-type]


def test_a_hotspot_outside_the_network_is_refused() -> None:
    with pytest.raises(CimsimError, match="hotspot"):
        flit_traffic(MESH, Traffic("hotspot", 0.1, hotspots={16: 0.5}))
