"""Trains on the packet-level network: the closed form equals the walk, trees carry once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cimsim.chip.topology import Topology
from cimsim.engine.idle_network import make_network
from cimsim.engine.network import Network, count_tokens, settle
from cimsim.engine.noc.packet import FLITS, NocTiming
from cimsim.engine.plan import Ports, Transport
from tests.twins.events.trains import reduce_train, scatter_trains, send_train


def network(
    *, width: int = 4, height: int = 3, contended: bool = False, single: bool = True, words: int = 1
) -> Network:
    shape = Topology("mesh", width, height, 1)
    ports = Ports(np.arange(width * height, dtype=np.int64), width * height, 0, 0)
    timing = NocTiming(flit_bytes=4, cycle_ps=1000)
    return make_network(Transport(shape, timing, ports, contended, words, single))


def test_uncontended_routes_in_closed_form_equal_the_walk(scaled: Callable[[int], int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(scaled(300)):
        width, height = (int(n) for n in rng.integers(1, 7, 2))
        nets = [network(width=width, height=height) for _ in range(2)]
        nets[1].flags[2] = 0  # walk every link
        for _ in range(3):
            count, flits = int(rng.integers(1, 9)), int(rng.integers(1, 20))
            source = int(rng.integers(width * height))
            others = rng.integers(0, width * height, count)
            ready = rng.integers(0, 100_000, count)
            masks = np.ones((count, 1), dtype=np.uint64)
            results = []
            for net in nets:
                first, out = np.zeros((2, count), dtype=np.int64)
                scatter_trains(net, 7_000, source, others, masks, count, flits, first, out)
                back = reduce_train(net, ready, ready, others, masks, count, source, flits)
                sent = send_train(net, 5_000, 90_000, source, int(others[0]), flits, 3)
                results.append([*out.tolist(), back, sent])
            assert results[0] == results[1]
        assert np.array_equal(settle(nets[0]), settle(nets[1]))


def test_a_multicast_tree_carries_a_token_once_a_link() -> None:
    net = network(width=4, height=1, contended=True)
    targets = np.array([2, 3], dtype=np.int64)
    out = np.zeros(2, dtype=np.int64)
    scatter_trains(net, 0, 0, targets, np.ones((2, 1), dtype=np.uint64), 2, 5, out.copy(), out)
    used = settle(net)[:, FLITS]
    assert used[[0, 4, 8]].tolist() == [5, 5, 5]  # links 0-1, 1-2, 2-3
    # interface, injection, then router and link for 3 or 4 routers, then 4 more flits.
    assert out.tolist() == [(1 + 1 + 4 * 3 + 4) * 1000, (1 + 1 + 4 * 4 + 4) * 1000]


def test_links_carry_the_union_of_tokens_behind_them() -> None:
    net = network(width=3, height=1, contended=True, single=False)
    targets = np.array([1, 2], dtype=np.int64)
    masks = np.array([[0b0111], [0b1100]], dtype=np.uint64)
    out = np.zeros((2, 2), dtype=np.int64)
    scatter_trains(net, 0, 0, targets, masks, 2, 1, out[0], out[1])
    used = settle(net)[:, FLITS]
    assert used[0] == 4  # tokens 0 to 3 leave together
    assert used[4] == 2  # only 2 and 3 go on


def test_a_reduction_adds_and_passes_each_token_once() -> None:
    net = network(width=3, height=1, contended=True)
    ready = np.array([0, 50_000], dtype=np.int64)
    sources = np.array([2, 1], dtype=np.int64)
    masks = np.ones((2, 1), dtype=np.uint64)
    arrival = reduce_train(net, ready, ready, sources, masks, 2, 0, 5)
    assert settle(net)[[5, 9], FLITS].tolist() == [5, 5]
    # The late source decides: interface, injection, two routers with links, 4 more flits, and
    # six cycles into the adder beside its router and out again.
    assert arrival == 50_000 + (1 + 1 + 4 * 2 + 4 + 6) * 1000


def test_contended_trains_wait_for_each_other() -> None:
    net = network(width=2, height=1, contended=True)
    first, second = (send_train(net, 0, 0, 0, 1, 10, 1) for _ in range(2))
    assert second == first + 10_000


@pytest.mark.parametrize("contended", [True, False])
def test_a_train_streams_while_its_vectors_become_ready(contended: bool) -> None:
    net = network(width=2, height=1, contended=contended)
    # 8 vectors of 2 flits, the last ready at 100 ns: it leaves then and 2 flits follow.
    arrival = send_train(net, 0, 100_000, 0, 1, 2, 8)
    assert arrival == 100_000 + (1 + 1 + 4 * 2 + 1) * 1000


def test_tokens_of_a_set_are_counted_over_all_words() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        words = rng.integers(0, 2**64, 3, dtype=np.uint64)
        assert count_tokens(words) == sum(int(w).bit_count() for w in words.tolist())
    assert count_tokens(np.array([2**64 - 1, 0], dtype=np.uint64)) == 64
