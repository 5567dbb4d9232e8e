"""The flit-level network written the plain way: objects, queues and sets, no kernels.

It is the oracle of `flit`: the same routers, one object each, with every pipeline register
and link spelled out, so that the lumped delays and array tricks of the fast kernels can be
checked flit by flit and cycle by cycle. Use it on small networks only.
"""

from __future__ import annotations

from collections import deque

from cimsim.engine.noc.flit_state import FlitSettings, flit_traffic
from cimsim.engine.noc.flit_tree import Places
from cimsim.engine.noc.traffic import Traffic, destination, starts_packet
from twins.flit_router import Flit, Link, OutputChannel, Packet, Router

__all__ = ["FlitTwin"]


class Node:
    """A network interface with an endless source queue."""

    def __init__(self, index: int, settings: FlitSettings) -> None:
        self.index = index
        self.channels = [OutputChannel(settings.buffer_flits) for _ in range(settings.vcs)]
        self.last = -1
        self.source: deque[Packet] = deque()
        self.packet: Packet | None = None
        self.sent = 0
        self.channel = -1
        self.flit_out: Link[Flit] = Link()
        self.credit_in: Link[int] = Link()
        self.flit_in: Link[Flit] = Link()
        self.credit_out: Link[int] = Link()

    def inject(self, now: int, packet_flits: int, *, hold: bool = False) -> None:
        """Take a credit, start the next packet if there is one, and send one flit.

        Args:
            now: the cycle.
            packet_flits: length of the packet.
            hold: whether the next flit is not there yet.
        """
        credit = self.credit_in.receive(now)
        if credit is not None:
            self.channels[credit].credits += 1
        if self.packet is None and self.source:
            self.packet, self.sent, self.channel = self.source.popleft(), 0, -1
        if self.packet is None:
            return
        if self.channel < 0:
            vcs = len(self.channels)
            for v in [(self.last + k) % vcs for k in range(1, vcs + 1)]:
                if not self.channels[v].in_use and self.channels[v].credits > 0:
                    self.channel = self.last = v
                    self.channels[v].in_use = True
                    break
        if self.channel < 0 or self.channels[self.channel].credits == 0 or hold:
            return
        self.sent += 1
        tail = self.sent == packet_flits
        self.flit_out.send(now, Flit(self.packet, self.sent == 1, tail, self.channel))
        self.channels[self.channel].credits -= 1
        if tail:
            self.channels[self.channel].in_use = False
            self.packet = None


class FlitTwin:
    """A whole network.

    Args:
        settings: shape, virtual channels and buffers.
        traffic: what the nodes send.

    Attributes:
        log: (cycle, node, source, cycle of creation, 2 * head + tail) of every flit that
            reached its node.
    """

    def __init__(self, settings: FlitSettings, traffic: Traffic) -> None:
        self.settings, self.traffic = settings, traffic
        shape = settings.shape
        self.load = flit_traffic(shape, traffic)
        router = tuple(shape.node_routers.tolist())
        port = tuple((4 + shape.node_ports).tolist())
        places = Places(shape, router, port)
        self.routers = [Router(r, settings, places, settings.ports) for r in range(shape.routers)]
        self.nodes = [Node(n, settings) for n in range(shape.nodes)]
        self.log: list[tuple[int, int, int, int, int]] = []
        self.now = 0
        connect(settings, self.routers)
        for node in self.nodes:
            attach(node, self.routers[router[node.index]], port[node.index])

    def run(self, cycles: int) -> None:
        """Simulate this many cycles."""
        for _ in range(cycles):
            self._step(self.now)
            self.now += 1

    def _step(self, now: int) -> None:
        load = self.load
        for node in self.nodes:
            flit = node.flit_in.receive(now)
            if flit:
                node.credit_out.send(now, flit.channel)
                kind = 2 * flit.head + flit.tail
                packet = flit.packet
                self.log.append((now, node.index, packet.source, packet.created, kind))
            if starts_packet(load.seed, node.index, now, load.threshold):
                target = destination(
                    load.seed,
                    node.index,
                    now,
                    len(self.nodes),
                    load.fixed,
                    load.hot_nodes,
                    load.hot_limits,
                )
                node.source.append(Packet(node.index, (target,), now))
            node.inject(now, load.packet_flits)
        for router in self.routers:
            router.step(now)


def connect(settings: FlitSettings, routers: list[Router]) -> None:
    """Join the routers of a network by links."""
    shape = settings.shape
    for here in range(shape.routers):
        x, y = here % shape.width, here // shape.width
        for direction, (dx, dy) in enumerate(((1, 0), (-1, 0), (0, 1), (0, -1))):
            there_x, there_y = x + dx, y + dy
            if shape.kind == "torus":
                there_x, there_y = there_x % shape.width, there_y % shape.height
            elif not (0 <= there_x < shape.width and 0 <= there_y < shape.height):
                continue
            there, opposite = there_y * shape.width + there_x, (1, 0, 3, 2)[direction]
            flits: Link[Flit] = Link()
            back: Link[int] = Link()
            routers[here].flit_out[direction], routers[there].flit_in[opposite] = flits, flits
            routers[here].credit_in[direction], routers[there].credit_out[opposite] = back, back


def attach(node: Node, router: Router, port: int) -> None:
    """Join a node to a port of its router."""
    router.flit_in[port], router.flit_out[port] = node.flit_out, node.flit_in
    router.credit_in[port], router.credit_out[port] = node.credit_out, node.credit_in
