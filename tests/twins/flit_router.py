"""Routers of the plain flit-level network (see `flit_network`)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from cimsim.chip.topology import Topology
from cimsim.engine.noc.flit_state import FlitSettings
from cimsim.engine.noc.flit_tree import Places
from cimsim.errors import CimsimInternalError

__all__ = ["Flit", "Link", "OutputChannel", "Packet", "Router"]

T = TypeVar("T")

LINK_CYCLES = 2  # from the cycle in which a flit or credit is put on a link to its arrival


@dataclass(eq=False)
class Packet:
    """One packet, and whether it has passed the dateline of the dimension it travels in.

    `created` and `index` only name it: its cycle or message, and its place in the message.
    """

    source: int
    targets: tuple[int, ...]
    created: int
    index: int = 0
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

    @property
    def empty(self) -> bool:
        """Whether nothing is on the wire."""
        return not self._moving


@dataclass(eq=False)
class Branch:
    """One way of the packet at the front of an input channel: a copy, and what it has sent."""

    copy: Packet
    port: int
    allowed: range
    channel: int = -1
    taken: int = 0
    state: str = "waiting"


@dataclass(eq=False)
class InputChannel:
    """One virtual channel of an input port: a queue, and the branches of the packet in front."""

    queue: deque[Flit] = field(default_factory=deque)
    branches: list[Branch] = field(default_factory=list)
    released: int = 0
    accept: dict[int, int] = field(default_factory=dict)


@dataclass(eq=False)
class OutputChannel:
    """What a router or node knows of the buffer that one of its channels feeds."""

    credits: int
    in_use: bool = False


class Router:
    """An input-queued virtual-channel router."""

    def __init__(self, index: int, settings: FlitSettings, places: Places, ports: int) -> None:
        self.index, self.settings, self.places = index, settings, places
        vcs = settings.vcs
        self.ports = ports
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
        self.next_input = [0] * (ports * vcs)  # of every output channel
        self.switch_grant, self.switch_accept = [0] * ports, [0] * ports
        self.next_channel = [0] * ports

    def step(self, now: int) -> None:
        """Simulate one cycle."""
        self._receive(now)
        channel_matches = self._match_channels()
        switch_matches = self._match_switch()
        leaving, self.crossbar = self.crossbar, []
        for port, flit in leaving:
            self._link(self.flit_out, port).send(now, flit)
        for branch, channel in channel_matches:
            branch.channel, branch.state = channel, "active"
            self.outputs[branch.port][channel].in_use = True
        for port, v, branches in switch_matches:
            self._send(now, port, v, branches)

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
                if len(channel.queue) == self.settings.buffer_flits:
                    raise CimsimInternalError("a flit came without a credit")
                channel.queue.append(flit)
                if not channel.branches:
                    self._begin(channel)
        for port, channel_index in self.late_credits:
            self.outputs[port][channel_index].credits += 1
        self.late_credits = []
        for port, link in enumerate(self.credit_in):
            credit = link.receive(now) if link else None
            if credit is not None:
                self.late_credits.append((port, credit))

    def _begin(self, channel: InputChannel) -> None:
        """Split the packet at the front by the outputs of its targets."""
        packet = channel.queue[0].packet
        outputs: dict[int, list[int]] = {}
        for target in packet.targets:
            direction = way(self.settings.shape, self.index, self.places.router[target])
            port = self.places.port[target] if direction == 4 else direction
            outputs.setdefault(port, []).append(target)
        order = [p for p in sorted(outputs) if p >= 4] + [p for p in (2, 3, 0, 1) if p in outputs]
        channel.released = 0
        for port in order:
            copy = replace(packet, targets=tuple(outputs[port]))
            allowed = allowed_channels(self.settings, self.index, port, packet)
            channel.branches.append(Branch(copy, port, allowed))

    def _match_channels(self) -> list[tuple[Branch, int]]:
        """Every free output channel grants one input channel; every branch accepts one."""
        vcs = self.settings.vcs
        wanted: dict[tuple[int, int], list[int]] = {}
        channels = [channel for port in self.inputs for channel in port]
        for i, channel in enumerate(channels):
            for branch in channel.branches:
                for w in branch.allowed if branch.state == "waiting" else ():
                    if not self.outputs[branch.port][w].in_use:
                        wanted.setdefault((branch.port, w), []).append(i)
        granted = {
            (port, w): first_from(self.next_input[port * vcs + w], inputs, len(channels))
            for (port, w), inputs in wanted.items()
        }
        matches = []
        for i, channel in enumerate(channels):
            for k, branch in enumerate(channel.branches):
                offers = [
                    p * vcs + w for (p, w), j in granted.items() if p == branch.port and j == i
                ]
                if branch.state == "waiting" and offers:
                    best = first_from(channel.accept.get(k, 0), offers, len(channels))
                    channel.accept[k] = (best + 1) % len(channels)
                    self.next_input[best] = (i + 1) % len(channels)
                    matches.append((branch, best % vcs))
        return matches

    def _ready(self, port: int, v: int) -> dict[int, Branch]:
        """Return the branches of a channel that have a flit and a credit, by output."""
        channel = self.inputs[port][v]
        return {
            branch.port: branch
            for branch in channel.branches
            if branch.state == "active"
            and branch.taken - channel.released < len(channel.queue)
            and self.outputs[branch.port][branch.channel].credits > 0
        }

    def _match_switch(self) -> list[tuple[int, int, list[Branch]]]:
        """Every output grants an input port; every input port accepts one, with its siblings."""
        vcs, ports = self.settings.vcs, self.ports
        offers: dict[tuple[int, int], int] = {}
        for port in range(ports):
            for v in ((self.next_channel[port] + k) % vcs for k in range(vcs)):
                for out in self._ready(port, v):
                    offers.setdefault((port, out), v)
        granted: dict[int, list[int]] = {}
        for out in range(ports):
            inputs = [port for port in range(ports) if (port, out) in offers]
            if inputs:
                granted.setdefault(first_from(self.switch_grant[out], inputs, ports), []).append(
                    out
                )
        winners = []
        for port, outs in granted.items():
            best = first_from(self.switch_accept[port], outs, ports)
            v = offers[port, best]
            ready = self._ready(port, v)
            together = [
                ready[out]
                for out in outs
                if offers[port, out] == v and ready[out].taken == ready[best].taken
            ]
            self.switch_accept[port] = (best + 1) % ports
            self.next_channel[port] = (v + 1) % vcs
            for branch in together:
                self.switch_grant[branch.port] = (port + 1) % ports
            winners.append((port, v, together))
        return winners

    def _send(self, now: int, port: int, v: int, branches: list[Branch]) -> None:
        """Send a flit to some branches; free its slot if all have it."""
        channel = self.inputs[port][v]
        flit = channel.queue[branches[0].taken - channel.released]
        for branch in branches:
            output = self.outputs[branch.port][branch.channel]
            output.credits -= 1
            self.crossbar.append(
                (branch.port, Flit(branch.copy, flit.head, flit.tail, branch.channel))
            )
            branch.taken += 1
            if flit.head and branch.port < 4:
                pass_link(self.settings.shape, self.index, branch.port, branch.copy)
            if flit.tail:
                output.in_use = False
                branch.state = "done"
        if min(branch.taken for branch in channel.branches) > channel.released:
            channel.queue.popleft()
            channel.released += 1
            self._link(self.credit_out, port).send(now, v)
        if all(branch.state == "done" for branch in channel.branches):
            channel.branches = []
            if channel.queue:
                self._begin(channel)


def first_from(pointer: int, values: list[int], size: int) -> int:
    """Return the value that a round-robin pointer reaches first."""
    return min(values, key=lambda value: (value - pointer) % size)


def way(shape: Topology, router: int, target: int) -> int:
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


def at_seam(shape: Topology, router: int, direction: int) -> bool:
    """Return whether the link in `direction` is a wrap-around link."""
    axis = direction // 2
    place = router % shape.width if axis == 0 else router // shape.width
    size = shape.width if axis == 0 else shape.height
    return place == (size - 1 if direction % 2 == 0 else 0)


def allowed_channels(settings: FlitSettings, router: int, port: int, packet: Packet) -> range:
    """Return the output channels that a packet may use behind a port of a router."""
    shape, vcs = settings.shape, settings.vcs
    if port >= 4 or shape.kind != "torus":
        return range(vcs)
    behind = at_seam(shape, router, port)
    if packet.dimension == port // 2:
        behind = behind or packet.crossed
    return range(vcs // 2, vcs) if behind else range(vcs // 2)


def pass_link(shape: Topology, router: int, direction: int, packet: Packet) -> None:
    """Note that a packet goes over a link."""
    if packet.dimension != direction // 2:
        packet.dimension, packet.crossed = direction // 2, False
    if shape.kind == "torus" and at_seam(shape, router, direction):
        packet.crossed = True
