"""The plain twin of `flit_network`: messages, multicasts and reductions without kernels.

It has the routers of `flit_router`. Multicast routes are split by the outputs of their
targets wherever a packet is, without an order of targets; the routers where parts of a
reduction meet are found by counting the ways that lead there. Use it on small networks only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from cimsim.engine.noc.flit_network import node_places
from cimsim.engine.noc.flit_state import FlitSettings
from twins.flit_network import Node, attach, connect
from twins.flit_router import Packet, Router, way

__all__ = ["FeedTwin"]


@dataclass
class Sum:
    """A sum that is made at an adder, or a part of one.

    Attributes:
        name: of the message.
        source: node that sends it.
        target: node that it goes to.
        flits: of the message.
        parts: parts of every flit that are there; None for a message of a node's own.
        need: parts of every flit.
        into: what it is a part of.
    """

    name: int
    source: int
    target: int
    flits: int
    parts: list[int] | None = None
    need: int = 0
    into: Sum | None = None


class FeedTwin:
    """A whole network that is fed messages.

    Args:
        settings: shape, virtual channels and buffers.
        packet_flits: longest packet.
        node_routers: [nodes], router of every node.

    Attributes:
        now: the present cycle.
        log: (cycle, node, message, packet, 2 * head + tail) of every flit that reached a node.
        delivered: (cycle, message, node) of every message that reached a target of it.
    """

    def __init__(
        self, settings: FlitSettings, packet_flits: int, node_routers: Sequence[int]
    ) -> None:
        self.settings, self.packet_flits = settings, packet_flits
        self.places = node_places(settings, node_routers)
        self.n_nodes = len(node_routers)
        ports = max(self.places.port) + 1
        routers = range(settings.shape.routers)
        self.routers = [Router(r, settings, self.places, ports) for r in routers]
        connect(settings, self.routers)
        self.nodes = [Node(n, settings) for n in range(len(self.places.router))]
        for node in self.nodes:
            attach(node, self.routers[self.places.router[node.index]], self.places.port[node.index])
        self.now = 0
        self.log: list[tuple[int, int, int, int, int]] = []
        self.delivered: list[tuple[int, int, int]] = []
        self.messages: dict[int, Sum] = {}
        self.sizes: dict[int, int] = {}
        self.missing: dict[tuple[int, int], int] = {}
        self.got: dict[tuple[int, int, int], int] = {}

    def send(self, name: int, source: int, targets: Sequence[int], flits: int) -> None:
        """Start a message in this cycle."""
        self.sizes[name] = flits
        for target in targets:
            self.missing[name, target] = flits
        for index in range(-(-flits // self.packet_flits)):
            self.nodes[source].source.append(Packet(source, tuple(targets), name, index))

    def reduce(self, names: Sequence[int], sources: Sequence[int], target: int, flits: int) -> None:
        """Prepare a sum.

        Args:
            names: of the parts; adders' messages take the numbers behind the last, farthest
                adder first, as `FlitNetwork` does.
            sources: of the parts.
            target: node that receives the sum.
            flits: of every part.
        """
        shape, end = self.settings.shape, self.places.router[target]
        ways: list[list[int]] = []
        for source in sources:
            path = [self.places.router[source]]
            while path[-1] != end:
                path.append(self._beyond(path[-1], way(shape, path[-1], end)))
            ways.append(path)
        came: dict[int, set[tuple[int, int]]] = {}  # from where parts come to a router
        for k, path in enumerate(ways):
            came.setdefault(path[0], set()).add((-1, k))
            for before, router in pairwise(path):
                came.setdefault(router, set()).add((before, -1))
        hops = {router: len(path) - i for path in ways for i, router in enumerate(path)}
        adders = sorted(
            (router for router in came if len(came[router]) > 1),
            key=lambda router: (-hops[router], router),
        )
        first = max(names) + 1
        sums = {
            router: Sum(
                first + k, self.places.adder[router], target, flits, [0] * flits, len(came[router])
            )
            for k, router in enumerate(adders)
        }
        for name, source, path in zip(names, sources, ways, strict=True):
            port = self.places.port[source]
            self._lead(Sum(name, source, target, flits), path, port, sums)
        for router in adders:
            path = next(p for p in ways if router in p)
            self._lead(sums[router], path[path.index(router) :], -1, sums)

    def _lead(self, part: Sum, path: list[int], port: int, sums: dict[int, Sum]) -> None:
        """Let a part that comes through a port (-1: out of an adder) end at the next adder."""
        shape = self.settings.shape
        for router, following in zip(path, [*path[1:], -1], strict=True):
            if router in sums and port >= 0:
                part.into, part.target = sums[router], self.places.adder[router] + port
                break
            if following >= 0:
                port = (1, 0, 3, 2)[way(shape, router, path[-1])]
        self.messages[part.name] = part
        self.sizes[part.name] = part.flits
        if part.into is None:
            self.missing[part.name, part.target] = part.flits

    def start(self, name: int) -> None:
        """Let the source of a part send it from this cycle on."""
        part = self.messages[name]
        for index in range(-(-part.flits // self.packet_flits)):
            self.nodes[part.source].source.append(Packet(part.source, (part.target,), name, index))

    def _beyond(self, router: int, direction: int) -> int:
        shape = self.settings.shape
        x, y = router % shape.width, router // shape.width
        dx, dy = ((1, 0), (-1, 0), (0, 1), (0, -1))[direction]
        return (y + dy) % shape.height * shape.width + (x + dx) % shape.width

    def eject(self) -> list[tuple[int, int, int]]:
        """Take out what reaches nodes in this cycle; return the deliveries."""
        before = len(self.delivered)
        for node in self.nodes:
            flit = node.flit_in.receive(self.now)
            if flit:
                node.credit_out.send(self.now, flit.channel)
                name, index = flit.packet.created, flit.packet.index
                self.log.append((self.now, node.index, name, index, 2 * flit.head + flit.tail))
                self._take(node.index, name, index)
        return self.delivered[before:]

    def _take(self, node: int, name: int, index: int) -> None:
        message = self.messages.get(name)
        if message is not None and message.into is not None:
            total = message.into
            assert total.parts is not None
            got = self.got.get((name, index, node), 0)
            self.got[name, index, node] = got + 1
            at = index * self.packet_flits + got
            total.parts[at] += 1
            if got == 0 and total.parts[at] == total.need:
                packet = Packet(total.source, (total.target,), total.name, index)
                self.nodes[total.source].source.append(packet)
            return
        self.missing[name, node] -= 1
        if self.missing[name, node] == 0:
            self.delivered.append((self.now, name, node))

    def finish_cycle(self) -> None:
        """Let nodes send and routers work; the next cycle begins."""
        for node in self.nodes:
            self._inject(node)
        for router in self.routers:
            router.step(self.now)
        self.now += 1

    def _inject(self, node: Node) -> None:
        """Send one flit, unless it is one of a sum that is not there yet."""
        packet = node.packet or (node.source[0] if node.source else None)
        if packet is None:
            node.inject(self.now, 1)
            return
        sent = node.sent if node.packet else 0
        at = packet.index * self.packet_flits + sent
        message = self.messages.get(packet.created)
        ready = message is None or message.parts is None or message.parts[at] == message.need
        length = min(
            self.packet_flits, self.sizes[packet.created] - packet.index * self.packet_flits
        )
        node.inject(self.now, length, hold=not ready)

    @property
    def drained(self) -> bool:
        """Whether nothing is left anywhere."""
        return (
            all(
                not node.source
                and node.packet is None
                and node.flit_in.empty
                and node.flit_out.empty
                for node in self.nodes
            )
            and all(
                not channel.queue
                for router in self.routers
                for port in router.inputs
                for channel in port
            )
            and all(
                not router.crossbar and all(link is None or link.empty for link in router.flit_out)
                for router in self.routers
            )
        )
