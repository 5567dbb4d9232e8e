"""Single messages on the packet-level network against the flit level, over synthetic traffic.

Messages of 4 to 4,096 flits start at random times on a mesh and go where a traffic pattern says;
flit by flit each is cut into packets of 8. The load is the utilisation that the busiest link
between routers or into a node would have if all messages came evenly. Both networks carry the same
messages. `cimsim.engine.noc.validity` states the largest errors that this prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.topology import Topology
from cimsim.engine.noc.flit_feed import DELIVERED, STUCK
from cimsim.engine.noc.flit_network import FlitNetwork
from cimsim.engine.noc.flit_state import FlitSettings
from cimsim.engine.noc.packet import BUSY_PS, FLITS, NocTiming, packet_state, send
from cimsim.engine.noc.traffic import Pattern, Traffic
from cimsim.errors import SimulationError

__all__ = ["LENGTHS", "LOADS", "PATTERNS", "by_flits", "measure_messages", "run_message_bench"]

PATTERNS: tuple[Pattern, ...] = (
    "uniform", "transpose", "tornado", "hotspot", "neighbor", "bitcomp", "shuffle",
)  # fmt: skip
LENGTHS = (4, 16, 64, 256, 1024, 4096)
LOADS = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
HOTSPOT, HOT_SHARE = 0, 0.2
PACKET_FLITS = 8
WARM_UP = 0.2
"""Share of the messages, the first, that is not counted."""

Int64 = NDArray[np.int64]
Load = tuple[Int64, Int64, Int64]


def run_message_bench(
    shape: Topology, patterns: Sequence[str], lengths: Sequence[int], loads: Sequence[float]
) -> Iterator[dict[str, object]]:
    """Yield a row for every pattern, length and load.

    Args:
        shape: the network.
        patterns: of traffic.
        lengths: flits of a message.
        loads: utilisation of the busiest link.

    Raises:
        CimsimError: where a pattern does not exist on the network.
    """
    for pattern in patterns:
        for flits in lengths:
            for load in loads:
                yield measure_messages(shape, pattern, flits, load)


def measure_messages(
    shape: Topology, pattern: str, flits: int, load: float, seed: int = 1
) -> dict[str, object]:
    """Return by how much the packet level's latencies of messages are off.

    Args:
        shape: the network.
        pattern: of traffic.
        flits: of a message.
        load: utilisation of the busiest link.
        seed: of all draws.

    Raises:
        CimsimError: where the pattern does not exist on the network.
    """
    count = min(2000, max(400, 100_000 // flits))
    messages = _messages(shape, pattern, flits, load, count, seed)
    packet, used = _by_packets(shape, flits, messages)
    flit = by_flits(shape, flits, messages)
    counted = slice(int(WARM_UP * count), None)
    tails = (np.quantile(found[counted], 0.99) for found in (packet, flit))
    return {
        "pattern": pattern,
        "flits": flits,
        "load": load,
        "used": used,
        "latency_cycles": float(flit[counted].mean()),
        "mean_error": _error(packet[counted].mean(), flit[counted].mean()),
        "p99_error": _error(*tails),
    }


def _error(found: float, true: float) -> float:
    return float(found / true - 1)


def _messages(
    shape: Topology, pattern: str, flits: int, load: float, count: int, seed: int
) -> Load:
    """Return start cycles, sources and targets."""
    rng = np.random.default_rng(seed)
    hot = {HOTSPOT: HOT_SHARE} if pattern == "hotspot" else {}
    fixed = Traffic(cast("Pattern", pattern), 0.5, hotspots=hot).targets(shape)
    sources = rng.integers(0, shape.nodes, count)
    targets = fixed[sources] if fixed.size else rng.integers(0, shape.nodes, count)
    if hot:
        targets = np.where(rng.random(count) < HOT_SHARE, HOTSPOT, targets)
    state = packet_state(shape, NocTiming(1, 1))
    for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
        send(state, 0, source, target, 1)
    busiest = int(_between(shape, state.used[:, FLITS]).max())
    gap = flits * busiest / count / load
    return np.cumsum(rng.exponential(gap, count)).astype(np.int64), sources, targets


def _between(shape: Topology, used: Int64) -> Int64:
    """Return the use of links without those out of a node, where both levels are the same."""
    first = shape.router_links * shape.routers
    return np.delete(used, slice(first, first + shape.nodes))


def _by_packets(shape: Topology, flits: int, messages: Load) -> tuple[Int64, float]:
    """Return the latency of every message in cycles, and the utilisation of the busiest link."""
    state = packet_state(shape, NocTiming(1, 1))
    rows = zip(*(part.tolist() for part in messages), strict=True)
    latency = np.array([send(state, c, s, t, flits) - c for c, s, t in rows])
    busy = _between(shape, state.used[:, BUSY_PS])
    return latency, float(busy.max()) / float((messages[0] + latency).max())


def by_flits(shape: Topology, flits: int, messages: Load) -> Int64:
    """Return the latency of every message in cycles, cut into packets of 8.

    Args:
        shape: the network.
        flits: of a message.
        messages: start cycles in order, sources and targets.

    Raises:
        SimulationError: if the network is deadlocked.
    """
    net = FlitNetwork(FlitSettings(shape), PACKET_FLITS, tuple(range(shape.nodes)))
    started: dict[int, int] = {}
    latency = np.zeros(len(messages[0]), dtype=np.int64)

    def advance(until: int) -> None:
        while net.cycle < until:
            why, found = net.advance(until)
            if why == STUCK:
                raise SimulationError("the network is deadlocked", value=f"cycle {net.cycle}")
            for message, _, _ in found:
                k = started.pop(message)
                latency[k] = net.cycle - messages[0][k]
            if why != DELIVERED and not net.busy and not started:
                return

    for k, (cycle, source, target) in enumerate(zip(*(m.tolist() for m in messages), strict=True)):
        advance(cycle)
        started[net.send(source, (target,), flits)] = k
    advance(1 << 40)
    return latency
