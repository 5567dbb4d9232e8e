"""Routers of the plain flit-level network (see `flit_twin`)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cimsim.engine.noc.flit_state import FlitSettings
from cimsim.engine.noc.shape import NocShape, node_port, node_router
from cimsim.errors import CimsimInternalError

__all__ = ["Flit", "Link", "OutputChannel", "Packet", "Router"]

T = TypeVar("T")

LINK_CYCLES = 2  # from the cycle in which a flit or credit is put on a link to its arrival


@dataclass(eq=False)
class Packet:
    """One packet, and whether it has passed the dateline of the dimension it travels in."""

    source: int
    target: int
    created: int
    crossed: bool = False
    dimension: int = -1


@dataclass(eq=False)
class Flit:
    """One flit; `channel` is the virtual channel that it uses on its present link."""

    packet: Packet
    head: bool
    tail: bool
    channel: int


class Link(Generic[T]):
    """A wire that carries one thing a cycle."""

    def __init__(self) -> None:
        self._moving: deque[tuple[int, T]] = deque()

    def send(self, now: int, item: T) -> None:
        """Put `item` on the wire."""
        self._moving.append((now + LINK_CYCLES, item))

    def receive(self, now: int) -> T | None:
        """Return what arrives now, if anything does."""
        if self._moving and self._moving[0][0] == now:
            return self._moving.popleft()[1]
        return None


class Islip:
    """Separable allocator with round-robin grants and accepts, one iteration."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.grant = [0] * outputs
        self.accept = [0] * inputs

    def match(self, requests: set[tuple[int, int]]) -> dict[int, int]:
        """Return the matched output of each matched input."""
        granted: dict[int, list[int]] = {}
        for output in range(self.outputs):
            turn = [(self.grant[output] + k) % self.inputs for k in range(self.inputs)]
            for i in turn:
                if (i, output) in requests:
                    granted.setdefault(i, []).append(output)
                    break
        matched = {}
        for i in range(self.inputs):
            turn = [(self.accept[i] + k) % self.outputs for k in range(self.outputs)]
            for output in turn:
                if output in granted.get(i, []):
                    matched[i] = output
                    self.accept[i] = (output + 1) % self.outputs
                    self.grant[output] = (i + 1) % self.inputs
                    break
        return matched


@dataclass(eq=False)
class InputChannel:
    """One virtual channel of an input port: a queue, and the output channel it holds."""

    queue: deque[Flit] = field(default_factory=deque)
    out_port: int = -1
    allowed: range = range(0)
    out_channel: int = -1
    state: str = "idle"


@dataclass(eq=False)
class OutputChannel:
    """What a router or node knows of the buffer that one of its channels feeds."""

    credits: int
    in_use: bool = False


class Router:
    """An input-queued virtual-channel router."""

    def __init__(self, index: int, settings: FlitSettings) -> None:
        self.index, self.settings = index, settings
        ports, vcs = settings.ports, settings.vcs
        self.inputs = [[InputChannel() for _ in range(vcs)] for _ in range(ports)]
        self.outputs = [
            [OutputChannel(settings.buffer_flits) for _ in range(vcs)] for _ in range(ports)
        ]
        self.flit_in: list[Link[Flit] | None] = [None] * ports
        self.flit_out: list[Link[Flit] | None] = [None] * ports
        self.credit_in: list[Link[int] | None] = [None] * ports
        self.credit_out: list[Link[int] | None] = [None] * ports
        self.late_credits: list[tuple[int, int]] = []
        self.crossbar: list[tuple[int, Flit]] = []
        self.vc_allocator = Islip(ports * vcs, ports * vcs)
        self.switch_allocator = Islip(ports, ports)
        self.next_channel = [0] * ports

    def step(self, now: int) -> None:
        """Simulate one cycle."""
        self._receive(now)
        vc_matches = self._match_channels()
        switch_matches = self._match_switch()
        leaving, self.crossbar = self.crossbar, []
        for port, flit in leaving:
            self._link(self.flit_out, port).send(now, flit)
        self._take_channels(vc_matches)
        for port, channel in switch_matches:
            self._send(now, port, channel)

    @staticmethod
    def _link(links: list[Link[T] | None], port: int) -> Link[T]:
        link = links[port]
        if link is None:
            raise CimsimInternalError("an XY route left the network over its edge")
        return link

    def _receive(self, now: int) -> None:
        for port, flits in enumerate(self.flit_in):
            flit = flits.receive(now) if flits else None
            if flit:
                channel = self.inputs[port][flit.channel]
                channel.queue.append(flit)
                if channel.state == "idle":
                    self._begin(channel)
        for port, channel_index in self.late_credits:
            self.outputs[port][channel_index].credits += 1
        self.late_credits = []
        for port, link in enumerate(self.credit_in):
            credit = link.receive(now) if link else None
            if credit is not None:
                self.late_credits.append((port, credit))

    def _begin(self, channel: InputChannel) -> None:
        packet = channel.queue[0].packet
        channel.out_port, channel.allowed = route(self.settings, self.index, packet)
        channel.state = "waiting"

    def _match_channels(self) -> dict[int, int]:
        vcs = self.settings.vcs
        requests = set()
        for port, channels in enumerate(self.inputs):
            for v, channel in enumerate(channels):
                if channel.state == "waiting":
                    for w in channel.allowed:
                        if not self.outputs[channel.out_port][w].in_use:
                            requests.add((port * vcs + v, channel.out_port * vcs + w))
        return self.vc_allocator.match(requests)

    def _match_switch(self) -> list[tuple[int, int]]:
        vcs = self.settings.vcs
        offers: dict[tuple[int, int], int] = {}
        for port, channels in enumerate(self.inputs):
            for k in range(vcs):
                v = (self.next_channel[port] + k) % vcs
                channel = channels[v]
                if (
                    channel.state == "active"
                    and channel.queue
                    and self.outputs[channel.out_port][channel.out_channel].credits > 0
                ):
                    offers.setdefault((port, channel.out_port), v)
        matched = self.switch_allocator.match(set(offers))
        winners = [(port, offers[port, out]) for port, out in matched.items()]
        for port, v in winners:
            self.next_channel[port] = (v + 1) % vcs
        return winners

    def _take_channels(self, matches: dict[int, int]) -> None:
        vcs = self.settings.vcs
        for i, output in matches.items():
            channel = self.inputs[i // vcs][i % vcs]
            channel.out_channel = output % vcs
            channel.state = "active"
            self.outputs[output // vcs][output % vcs].in_use = True

    def _send(self, now: int, port: int, v: int) -> None:
        channel = self.inputs[port][v]
        flit = channel.queue.popleft()
        self._link(self.credit_out, port).send(now, v)
        flit.channel = channel.out_channel
        output = self.outputs[channel.out_port][channel.out_channel]
        output.credits -= 1
        self.crossbar.append((channel.out_port, flit))
        if flit.head and channel.out_port < 4:
            pass_link(self.settings.shape, self.index, channel.out_port, flit.packet)
        if flit.tail:
            output.in_use = False
            channel.state = "idle"
            if channel.queue:
                self._begin(channel)


def way(shape: NocShape, router: int, target: int) -> int:
    """Return the direction of the next hop, 4 at the target router."""
    here = router % shape.width, router // shape.width
    there = target % shape.width, target // shape.width
    for axis, size in enumerate((shape.width, shape.height)):
        a, b = here[axis], there[axis]
        if a == b:
            continue
        if shape.kind != "torus":
            return 2 * axis + (0 if b > a else 1)
        up, down = (b - a) % size, (a - b) % size
        if up == down:
            return 2 * axis + a % 2
        return 2 * axis + (0 if up < down else 1)
    return 4


def at_seam(shape: NocShape, router: int, direction: int) -> bool:
    """Return whether the link in `direction` is a wrap-around link."""
    axis = direction // 2
    place = router % shape.width if axis == 0 else router // shape.width
    size = shape.width if axis == 0 else shape.height
    return place == (size - 1 if direction % 2 == 0 else 0)


def route(settings: FlitSettings, router: int, packet: Packet) -> tuple[int, range]:
    """Return the output port of a packet and the channels that it may use behind it."""
    shape, vcs = settings.shape, settings.vcs
    geometry = shape.geometry()
    direction = way(shape, router, node_router(geometry, packet.target))
    if direction == 4:
        return 4 + node_port(geometry, packet.target), range(vcs)
    if shape.kind != "torus":
        return direction, range(vcs)
    behind = at_seam(shape, router, direction)
    if packet.dimension == direction // 2:
        behind = behind or packet.crossed
    return direction, range(vcs // 2, vcs) if behind else range(vcs // 2)


def pass_link(shape: NocShape, router: int, direction: int, packet: Packet) -> None:
    """Note that a packet goes over a link."""
    if packet.dimension != direction // 2:
        packet.dimension, packet.crossed = direction // 2, False
    if shape.kind == "torus" and at_seam(shape, router, direction):
        packet.crossed = True
