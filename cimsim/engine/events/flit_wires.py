"""The flit-level network as the SimPy scheduler sees it: sends that call back on delivery.

Time is simulated time in ps. What is sent enters the network in the first cycle that does not
begin before (up to one cycle later than at the packet level, which knows no cycles), and is
delivered at the beginning of a cycle. Endpoints are the ports of the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.noc.flit_feed import STUCK
from cimsim.engine.noc.flit_network import FlitNetwork
from cimsim.engine.noc.flit_state import (
    DELAYS,
    LINK_CYCLES,
    ROUTER_CYCLES,
    FlitSettings,
)
from cimsim.engine.noc.packet import BUSY_PS, FLITS, PACKETS
from cimsim.engine.plan import Transport

__all__ = ["Arrival", "FlitWires", "flit_network"]

Int64 = NDArray[np.int64]
Handler = Callable[[Any, int], None]
SLICE_CYCLES = 1 << 16
"""Cycles between two looks at the clock: a few tenths of a second."""


def flit_network(transport: Transport) -> FlitNetwork:
    """Return an idle flit-level network between the ports of a plan.

    A router of more than three cycles, or a longer link, delays every flit by that much more.

    Raises:
        CimsimError: if virtual channels or buffers are out of range.
    """
    sizes, timing = transport.sizes, transport.timing
    link = timing.link_cycles - LINK_CYCLES
    more = (timing.router_cycles - ROUTER_CYCLES + link, link, link, link)
    return FlitNetwork(
        FlitSettings(transport.shape, sizes.virtual_channels, sizes.buffer_flits),
        sizes.packet_flits,
        transport.ports.router.tolist(),
        delays=tuple(a + b for a, b in zip(DELAYS, more, strict=True)),
    )


@dataclass(frozen=True)
class Arrival:
    """A message at one of its targets.

    Attributes:
        time_ps: when its last flit is there.
        handler, value: what to call, and with what.
        port: the target.
    """

    time_ps: int
    handler: Handler
    value: Any
    port: int


class FlitWires:
    """Messages on their way and who waits for them.

    Args:
        transport: the network.

    Attributes:
        stuck: whether no flit moves although some are on their way: an error of the model.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._net = flit_network(transport)
        self._cycle_ps = transport.timing.cycle_ps
        self._waiting: dict[int, tuple[Handler, Any]] = {}
        self.stuck = False

    @property
    def busy(self) -> bool:
        """Whether anything is on its way."""
        return self._net.busy

    def is_behind(self, time_ps: float) -> bool:
        """Whether there are cycles to simulate before a time."""
        return self._net.cycle * self._cycle_ps < time_ps

    def blocked(self) -> list[tuple[int, str]]:
        """Return the sending port of packets that wait in routers, and what they wait for."""
        shape, ports = self._transport.shape, len(self._transport.ports.router)
        found = []
        for source, router, port in self._net.blocked():
            link = f"router {router} out"
            if port < shape.router_links:
                link = shape.link_name(shape.router_links * router + port)
            found.append((source, f"a channel behind {link}"))
        return [row for row in found if row[0] < ports]

    def send(
        self,
        now_ps: int,
        source: int,
        targets: Sequence[int],
        flits: int,
        handler: Handler,
        value: Any,
    ) -> None:
        """Send one vector from a port to others.

        Args:
            now_ps: the time.
            source: sending port.
            targets: receiving ports, each once.
            flits: of the vector.
            handler: called with `value` and the port on arrival at each target.
            value: for the handler.
        """
        self._sync(now_ps)
        self._waiting[self._net.send(source, targets, flits)] = handler, value

    def reduce(
        self, sources: Sequence[int], target: int, flits: int, handler: Handler, value: Any
    ) -> tuple[int, ...]:
        """Prepare the sum of a vector from each source; return a number for every part."""
        messages = self._net.reduce(sources, target, flits)
        self._waiting[messages[-1]] = handler, value
        return messages[: len(sources)]

    def start(self, now_ps: int, part: int) -> None:
        """Send a part of a sum."""
        self._sync(now_ps)
        self._net.start(part)

    def advance(self, until_ps: float) -> list[Arrival]:
        """Simulate up to a time, or until something arrives, or for a slice of cycles."""
        until = self._net.cycle + SLICE_CYCLES
        if until_ps < until * self._cycle_ps:
            until = self._cycle_of(int(until_ps))
        why, found = self._net.advance(until)
        time_ps = self._net.cycle * self._cycle_ps
        self.stuck = why == STUCK
        arrivals = []
        for message, port, done in found:
            handler, value = self._waiting[message]
            if done:
                del self._waiting[message]
            arrivals.append(Arrival(time_ps, handler, value, port))
        return arrivals

    def used(self) -> Int64:
        """Return what links carried so far, as `RawRun.link_used`; waits are not measured."""
        links, sent, received = self._net.used()
        first = links.shape[0] * links.shape[1]
        carried = np.zeros((first + 2 * len(sent), 2), dtype=np.int64)
        carried[:first] = links.reshape(-1, 2)
        carried[first::2], carried[first + 1 :: 2] = sent, received
        used = np.zeros((len(carried) + len(self._transport.between.pairs), 4), dtype=np.int64)
        used[: len(carried), [FLITS, PACKETS]] = carried
        used[:, BUSY_PS] = used[:, FLITS] * self._cycle_ps
        return used

    def _cycle_of(self, time_ps: int) -> int:
        return -(-time_ps // self._cycle_ps)

    def _sync(self, now_ps: int) -> None:
        """Bring the clock of an idle network to the present cycle."""
        cycle = self._cycle_of(now_ps)
        while self._net.cycle < cycle:
            self._net.advance(cycle)
