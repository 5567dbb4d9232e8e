"""Messages of 4 to 4,096 flits: the packet level against the flit level, and what a run says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from cimsim.bench.messages import by_flits
from cimsim.chip.topology import Topology
from cimsim.engine.noc.packet import NocTiming, packet_state, send
from cimsim.engine.noc.validity import BEYOND, LONGEST_FLITS, PacketValidity

SMALL, LARGE = Topology("mesh", 4, 4), Topology("mesh", 8, 8)
Cycles = NDArray[np.int64]


def messages(shape: Topology, flits: int, rate: float, count: int) -> tuple[Cycles, Cycles, Cycles]:
    """Cycles, sources and targets of uniform traffic at `rate` flits a node and cycle."""
    rng = np.random.default_rng(1)
    nodes = shape.routers
    cycles = np.cumsum(rng.exponential(flits / (rate * nodes), count)).astype(np.int64)
    sources = rng.integers(0, nodes, count)
    return cycles, sources, (sources + rng.integers(1, nodes, count)) % nodes


def by_packets(
    shape: Topology, flits: int, load: tuple[Cycles, Cycles, Cycles]
) -> tuple[Cycles, float]:
    """Latency of every message, which holds each link as one packet, and the busiest link."""
    state = packet_state(shape, NocTiming(1, 1))
    latency = [
        send(state, int(c), int(s), int(t), flits) - int(c) for c, s, t in zip(*load, strict=True)
    ]
    between = state.used[: shape.router_links * shape.routers, 0]
    return np.array(latency), float(between.max()) / float(load[0][-1] + 1)


def stated(shape: Topology, flits: int, rate: float, count: int) -> None:
    load = messages(shape, flits, rate, count)
    exact, (simple, used) = by_flits(shape, flits, load), by_packets(shape, flits, load)
    _, mean, most = next(row for row in BEYOND if used <= row[0])
    counted = slice(count // 5, None)
    low = 1 - simple[counted].mean() / exact[counted].mean()
    tail = 1 - np.quantile(simple[counted], 0.99) / np.quantile(exact[counted], 0.99)
    assert -0.02 < low <= mean
    assert tail <= most


@pytest.mark.parametrize(("flits", "rate"), [(64, 0.05), (256, 0.1), (1024, 0.05)])
def test_errors_are_within_what_is_stated(flits: int, rate: float) -> None:
    stated(SMALL, flits, rate, 500)


@pytest.mark.full
@pytest.mark.parametrize("shape", [SMALL, LARGE], ids=str)
@pytest.mark.parametrize("flits", [4, 16, 64, 256, 1024, 4096])
@pytest.mark.parametrize("rate", [0.02, 0.05, 0.1, 0.2])
def test_every_measured_point_is_within_what_is_stated(
    shape: Topology, flits: int, rate: float
) -> None:
    stated(shape, flits, rate, min(3000, max(400, int(2e5 / flits))))


def judged(utilisation: float, flits: float) -> PacketValidity:
    return PacketValidity(
        inside=False, utilisation=utilisation, limit=0.1, error=None, packet_flits=flits, link="x"
    )


@pytest.mark.parametrize(("used", "mean", "most"), BEYOND)
def test_a_run_says_the_measured_error_of_its_load(used: float, mean: float, most: float) -> None:
    said = judged(used, 354).sentence()
    assert f"low by up to {100 * mean:.0f} %" in said
    assert f"percentile by up to {100 * most:.0f} %" in said


@pytest.mark.parametrize(("used", "flits"), [(0.9, 100), (0.1, LONGEST_FLITS + 1)])
def test_what_was_not_measured_is_said_to_be_so(used: float, flits: float) -> None:
    assert "by more than was measured" in judged(used, flits).sentence()


def test_stated_errors_grow_with_the_load() -> None:
    for earlier, later in pairwise(BEYOND):
        assert all(a < b for a, b in zip(earlier, later, strict=True))
