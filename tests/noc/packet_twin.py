"""The packet-level network the plain way: lists of busy intervals that never forget."""

from __future__ import annotations

from cimsim.chip.topology import Topology
from cimsim.engine.noc.packet import NocTiming
from tests.noc.ways import route_links

CREDIT_CYCLES = 3


class PacketTwin:
    """Reserves links and holds senders up like `packet.send`, with every interval kept."""

    def __init__(self, shape: Topology, timing: NocTiming) -> None:
        self.shape, self.timing = shape, timing
        self.busy: list[list[tuple[int, int]]] = [[] for _ in range(shape.links)]

    def send(self, now: int, source: int, target: int, flits: int) -> int:
        """Return when the tail arrives."""
        timing, cycle = self.timing, self.timing.cycle_ps
        head = now + timing.interface_cycles * cycle
        links = route_links(self.shape, source, target)
        starts = []
        for number, link in enumerate(links):
            if number:
                head += timing.router_cycles * cycle
            starts.append(self._start(link, head, flits * cycle))
            head = starts[-1] + timing.link_cycles * cycle
        room = (timing.buffer_flits - CREDIT_CYCLES) * cycle
        # A packet that waits for its k-th link fills k buffers.
        last = max(start - k * room for k, start in enumerate(starts))
        self._hold(links[0], starts[0] + flits * cycle, last + flits * cycle)
        return head + (flits - 1) * cycle

    def _start(self, link: int, ready: int, hold: int) -> int:
        start = ready
        while any(a < start + hold and start < b for a, b in self.busy[link]):
            start = min(b for a, b in self.busy[link] if a < start + hold and start < b)
        self.busy[link].append((start, start + hold))
        return start

    def _hold(self, link: int, end: int, until: int) -> None:
        """Hold a link until a time, or until somebody else has it."""
        until = min([until, *[a for a, _ in self.busy[link] if a >= end]])
        if until > end:
            self.busy[link].append((end, until))
