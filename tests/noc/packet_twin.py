"""The packet-level network the plain way: lists of busy intervals that never forget."""

from __future__ import annotations

from cimsim.chip.topology import Topology
from cimsim.engine.noc.packet import NocTiming
from tests.noc.ways import route_links


class PacketTwin:
    """Reserves links like `packet.send`, with every interval kept."""

    def __init__(self, shape: Topology, timing: NocTiming) -> None:
        self.shape, self.timing = shape, timing
        self.busy: list[list[tuple[int, int]]] = [[] for _ in range(shape.links)]

    def send(self, now: int, source: int, target: int, flits: int) -> int:
        """Return when the tail arrives."""
        timing, cycle = self.timing, self.timing.cycle_ps
        head = now + timing.interface_cycles * cycle
        for number, link in enumerate(route_links(self.shape, source, target)):
            if number:
                head += timing.router_cycles * cycle
            head = self._start(link, head, flits * cycle) + timing.link_cycles * cycle
        return head + (flits - 1) * cycle

    def _start(self, link: int, ready: int, hold: int) -> int:
        start = ready
        while any(a < start + hold and start < b for a, b in self.busy[link]):
            start = min(b for a, b in self.busy[link] if a < start + hold and start < b)
        self.busy[link].append((start, start + hold))
        return start
