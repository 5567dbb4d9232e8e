"""A flit-level network that is fed messages at given times: the handle of `flit_feed`.

Nodes are any endpoints, several on one router if need be; every router has an adder beside
them. The network's clock follows its caller's: `advance` simulates up to a cycle, or until
something is delivered, and skips cycles in which nothing moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

import cimsim.engine.noc.flit_feed as g
import cimsim.engine.noc.flit_state as f
from cimsim.engine.noc.flit_build import make_state
from cimsim.engine.noc.flit_state import DELAYS, FlitSettings
from cimsim.engine.noc.flit_tree import Leg, Places, reduction_legs, spread_order
from cimsim.errors import CimsimInternalError

__all__ = ["FlitNetwork", "node_places"]

Int64 = NDArray[np.int64]
ROOM = 64
TREES = 1 << 12
"""Trees of reductions that are kept."""


def node_places(settings: FlitSettings, node_routers: Sequence[int]) -> Places:
    """Return where nodes hang: those of the caller first, then the inputs of adders.

    Args:
        settings: shape, virtual channels and buffers.
        node_routers: [nodes], router of every node of the caller.
    """
    shape, count = settings.shape, settings.shape.routers
    local = [0] * count
    ports, routers, adders = [], list(node_routers), []
    for router in node_routers:
        ports.append(shape.router_links + local[router])
        local[router] += 1
    for router in range(count):
        adders.append(len(routers))
        taken = shape.router_links + local[router]
        routers += [router] * taken
        ports += range(taken, 2 * taken)
    return Places(shape, tuple(routers), tuple(ports), tuple(adders))


class FlitNetwork:
    """The network and the messages on their way.

    Args:
        settings: shape, virtual channels and buffers.
        packet_flits: longest packet, at most `settings.buffer_flits`.
        node_routers: [nodes], router of every node.
        delays: cycles between stages (`FlitState.delays`).
        log: how many ejected flits to log.

    Attributes:
        nodes: nodes without adders.
        state, feed: what the kernels change.
    """

    def __init__(
        self,
        settings: FlitSettings,
        packet_flits: int,
        node_routers: Sequence[int],
        *,
        delays: tuple[int, ...] = DELAYS,
        log: int = 0,
    ) -> None:
        if not 1 <= packet_flits <= settings.buffer_flits:
            raise CimsimInternalError("packets must fit into a buffer, or multicasts may deadlock")
        self.settings, self.packet_flits, self.nodes = settings, packet_flits, len(node_routers)
        self.places = node_places(settings, node_routers)
        routers, ports = self.places.router, self.places.port
        branches = max(ports[: self.nodes])  # beside the first: one per port but for adders
        width = max(ports) + 1
        self.state = make_state(settings, routers, ports, width, delays, branches)
        self.state = self.state._replace(log=np.zeros((log, f.LOG_COLUMNS), dtype=np.int64))
        n = len(routers)
        self.feed = g.FeedState(
            messages=np.zeros((ROOM, 9), dtype=np.int64),
            entries=np.zeros((ROOM, 2), dtype=np.int64),
            queues=np.full((n, 6), -1, dtype=np.int64),
            awake=np.zeros(n, dtype=np.int64),
            tally=np.zeros(ROOM, dtype=np.int64),
            found=np.zeros((n, 2), dtype=np.int64),
            begun=np.zeros((n, 3), dtype=np.int64),
            injected=np.zeros((n, 2), dtype=np.int64),
            counts=np.array([packet_flits, 0, 0, 0, 0], dtype=np.int64),
        )
        self.feed.queues[:, g.IS_LISTED] = 0
        self._free: dict[tuple[str, int], list[int]] = {}
        self._end = {"messages": 0, "entries": 0, "tally": 0, "targets": 0}
        self._waiting: dict[int, int] = {}  # deliveries that a message has before it
        self._parts: dict[int, tuple[int, ...]] = {}  # messages of the reduction that one ends
        self._legs = lru_cache(TREES)(self._find_legs)

    @property
    def cycle(self) -> int:
        """The cycle that what is started now belongs to."""
        return int(self.state.totals[f.TIME])

    @property
    def busy(self) -> bool:
        """Whether messages are on their way."""
        return bool(self.feed.counts[g.AWAKE]) or self.state.totals[f.FREE] < self.state.free.size

    def send(self, source: int, targets: Sequence[int], flits: int) -> int:
        """Start a message in this cycle and return its number, free again after delivery.

        Args:
            source: sending node.
            targets: receiving nodes, each once.
            flits: length of the message.
        """
        message = self._take("messages", 1)
        ordered = spread_order(self.places, source, targets) if len(targets) > 1 else targets
        self._write(message, source, ordered, flits, into=-1, need=0)
        self._waiting[message] = len(targets)
        self.start(message)
        return message

    def reduce(self, sources: Sequence[int], target: int, flits: int) -> tuple[int, ...]:
        """Prepare the sum of a message from each source.

        Args:
            sources: sending nodes; one that occurs twice has two parts.
            target: node that receives the sum.
            flits: length of a part and of the sum.

        Returns:
            The message of every source, to be given to `start` when it is ready, then those
            of adders; the last of all is the one that is delivered.
        """
        legs = self._legs(tuple(sources), target)
        numbers = tuple(self._take("messages", 1) for _ in legs)
        for leg, number in zip(legs, numbers, strict=True):
            into = -1 if leg.into < 0 else numbers[leg.into]
            self._write(number, leg.source, (leg.target,), flits, into=into, need=leg.parts)
        self._waiting[numbers[-1]] = 1
        self._parts[numbers[-1]] = numbers[:-1]
        return numbers

    def start(self, message: int) -> None:
        """Let a message's source send it from this cycle on."""
        source, entry = self.feed.messages[message, [g.FROM, g.QUEUE]].tolist()
        queues, entries = self.feed.queues, self.feed.entries
        entries[entry, g.FOLLOWING] = -1
        last = queues[source, g.TAIL]
        if last < 0:
            queues[source, g.HEAD] = entry
        else:
            entries[last, g.FOLLOWING] = entry
        queues[source, g.TAIL] = entry
        if not queues[source, g.IS_LISTED]:
            queues[source, g.IS_LISTED] = 1
            self.feed.awake[self.feed.counts[g.AWAKE]] = source
            self.feed.counts[g.AWAKE] += 1

    def advance(self, until: int) -> tuple[int, list[tuple[int, int, bool]]]:
        """Simulate up to a cycle, or until messages are delivered.

        Args:
            until: first cycle that is not simulated.

        Returns:
            Why it stopped (see `flit_feed.advance`), and message, node and whether it was the
            last of the message for every delivery in the present cycle, by node.
        """
        why = g.advance(self.state, self.feed, until, self.settings.vcs)
        found = []
        if why == g.DELIVERED:
            rows = self.feed.found[: self.feed.counts[g.FOUND]].tolist()
            for message, node in sorted(rows, key=lambda row: row[1]):
                self._waiting[message] -= 1
                done = self._waiting[message] == 0
                found.append((message, node, done))
                if done:
                    self._forget(message)
        return why, found

    def used(self) -> tuple[Int64, Int64, Int64]:
        """Return flits and packets: [routers, links, 2] of links, [nodes, 2] sent and received."""
        ports = self.state.carried.reshape(self.settings.shape.routers, -1, 2)
        routers, local = self.places.router[: self.nodes], self.places.port[: self.nodes]
        return (
            ports[:, : self.settings.shape.router_links].copy(),
            self.feed.injected[: self.nodes],
            ports[routers, local],
        )

    def blocked(self) -> list[tuple[int, int, int]]:
        """Return source node, router and output port of every packet that waits in a router."""
        state, found = self.state, set()
        for router, sizes in enumerate(state.sizes):
            for kind, count in enumerate(sizes):
                for row in state.members[2 * router + kind, :count]:
                    packet = state.vcs[row, f.COPY]
                    source = int(state.packets[packet, f.SOURCE])
                    found.add((source, router, int(state.vcs[row, f.OUT_PORT])))
        return sorted(found)

    # ------------------------------------------------------------------ rows of arrays

    def _find_legs(self, sources: tuple[int, ...], target: int) -> tuple[Leg, ...]:
        return reduction_legs(self.places, sources, target)

    def _write(
        self, row: int, source: int, targets: Sequence[int], flits: int, *, into: int, need: int
    ) -> None:
        """Fill in a message and the rows that belong to it."""
        packets = -(-flits // self.packet_flits)
        low = self._take("targets", len(targets))
        for k, node in enumerate(targets):
            self.state.targets[low + k] = node, packets
        waits = packets if need else 1
        entry = self._take("entries", waits)
        self.feed.entries[entry : entry + waits, g.MESSAGE] = row
        tally = self._take("tally", flits) if need else 0
        if need:
            self.feed.tally[tally : tally + flits] = 0
        high = low + len(targets)
        self.feed.messages[row] = flits, packets, low, high, into, need, tally, entry, source

    def _forget(self, message: int) -> None:
        """Free the rows of a delivered message and of the parts that it is the sum of."""
        del self._waiting[message]
        for row in (message, *self._parts.pop(message, ())):
            flits, packets, low, high, _, need, tally, entry, _ = self.feed.messages[row].tolist()
            self._give("targets", low, high - low)
            self._give("entries", entry, packets if need else 1)
            if need:
                self._give("tally", tally, flits)
            self._give("messages", row, 1)

    def _give(self, name: str, row: int, size: int) -> None:
        self._free.setdefault((name, size), []).append(row)

    def _take(self, name: str, size: int) -> int:
        """Return the first of some rows of an array that nothing uses; the array may grow."""
        free = self._free.get((name, size))
        if free:
            return free.pop()
        row = self._end[name]
        self._end[name] = row + size
        array: Int64 = self.state.targets if name == "targets" else getattr(self.feed, name)
        if row + size > len(array):
            grown = np.zeros((2 * (row + size), *array.shape[1:]), dtype=np.int64)
            grown[: len(array)] = array
            if name == "targets":
                self.state = self.state._replace(targets=grown)
            else:
                self.feed = self.feed._replace(**{name: grown})
        return row
