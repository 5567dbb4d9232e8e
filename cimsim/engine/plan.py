"""The plan: everything that either engine needs, as integers.

`build_plan` lowers a chip, a placement, a program and a routing trace to flat arrays of
picoseconds, bytes, flits and indices. Both schedulers read the same plan
and promise the same result, so no rounding can come between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import ChipMesh, Placement, UnitKey
from cimsim.chip.topology import Topology
from cimsim.engine.flights import Flights
from cimsim.engine.memory import MemoryTimes
from cimsim.engine.noc.packet import NocTiming
from cimsim.engine.sites import Sites
from cimsim.engine.step_table import StepTable
from cimsim.engine.steps import Step

__all__ = [
    "ONE_CHIP", "ChipNetwork", "Copies", "FlitSizes", "Plan", "Ports", "Slots", "Transport",
]  # fmt: skip

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Ports:
    """Endpoints of the network: tiles, digital units, memory channels, gateways.

    Attributes:
        router: [ports], router that each endpoint hangs on.
        n_tiles, n_digital, n_channels: how many of each, over all chips; a system of several
            chips has one gateway per chip behind them.
    """

    router: Int64
    n_tiles: int
    n_digital: int
    n_channels: int

    @property
    def first_digital(self) -> int:
        """Port of digital unit 0."""
        return self.n_tiles

    @property
    def first_channel(self) -> int:
        """Port of memory channel 0."""
        return self.n_tiles + self.n_digital

    @property
    def first_gateway(self) -> int:
        """Port of the gateway of chip 0."""
        return self.n_tiles + self.n_digital + self.n_channels


@dataclass(frozen=True)
class ChipNetwork:
    """Links between chips, store and forward a vector at a time.

    Attributes:
        after: [chips, chips], next chip on the way from one to another (itself: arrived).
        link: [chips, chips], number among the links of the one to the next chip, or -1.
        pairs: (sender, receiver) of every link.
        flit_fs: time of a flit on a link, in femtoseconds.
        latency_ps: from a sending to a receiving pad.
    """

    after: Int64
    link: Int64
    pairs: tuple[tuple[int, int], ...]
    flit_fs: int
    latency_ps: int

    @property
    def chips(self) -> int:
        """Chips of the system."""
        return len(self.after)


ONE_CHIP = ChipNetwork(
    np.zeros((1, 1), dtype=np.int64), np.full((1, 1), -1, dtype=np.int64), (), 0, 0
)
"""A system without links between chips."""


@dataclass(frozen=True)
class FlitSizes:
    """Buffers and packets of the flit-level network.

    Attributes:
        virtual_channels: a port.
        buffer_flits: that the buffer of a virtual channel holds.
        packet_flits: of the longest packet.
    """

    virtual_channels: int = 4
    buffer_flits: int = 8
    packet_flits: int = 8


@dataclass(frozen=True)
class Transport:
    """The network as the engines see it.

    Attributes:
        shape, timing: geometry, clock and pipeline.
        ports: endpoints.
        contended: whether links serve one packet at a time.
        words: 64-bit words that mark the tokens of a flight.
        single: whether every flight is one token.
        between: links between chips.
        sizes: buffers and packets of the flit level.
    """

    shape: Topology
    timing: NocTiming
    ports: Ports
    contended: bool
    words: int
    single: bool
    between: ChipNetwork = ONE_CHIP
    sizes: FlitSizes = FlitSizes()

    @property
    def first_port_link(self) -> int:
        """Index of the first link between a router and a port; links of routers come before."""
        return self.shape.router_links * self.shape.routers

    @property
    def first_chip_link(self) -> int:
        """Index of the first link between chips; those of routers and ports come before."""
        return self.first_port_link + 2 * len(self.ports.router)


@dataclass(frozen=True)
class Slots:
    """Crossbars that hold one expert at a time.

    Attributes:
        site: [slots], site of each.
        chip: [slots], chip of each.
        home: [experts], chip in whose slots an expert lives.
        initial: [slots], expert held at the start, or -1.
        write_ps: [experts], time to program one into a slot (0 for experts that never move).
        fetch_ps: [experts], occupancy of the memory channels by the fetch of its weights.
        fetch_bytes: [experts], stored weight bytes.
        fetch_flits: [experts], flits that each channel sends to each tile of the slot.
        cells: [experts], cells written.
        policy: one of the codes of `POLICIES`.
        hot: bool [experts], experts that the pinned policy keeps.
    """

    site: Int64
    chip: Int64
    home: Int64
    initial: Int64
    write_ps: Int64
    fetch_ps: Int64
    fetch_bytes: Int64
    fetch_flits: Int64
    cells: Int64
    policy: int
    hot: NDArray[np.bool_]


@dataclass(frozen=True)
class Copies:
    """Sites of the copies of every unit; a unit's are a slice between two pointers.

    Attributes:
        group_ptr, group_sites: of fixed units.
        group_units: unit of every group.
        expert_ptr, expert_sites: of the resident copies of every expert id; none where the expert
            lives in slots.
        expert_units: unit of every expert id.
    """

    group_ptr: Int64
    group_sites: Int64
    group_units: tuple[UnitKey, ...]
    expert_ptr: Int64
    expert_sites: Int64
    expert_units: tuple[UnitKey, ...]


@dataclass(frozen=True)
class Plan:
    """One phase of one chip, lowered.

    Attributes:
        phase: prefill or decode.
        flights: which tokens travel together.
        concurrency: streams in flight at once.
        arrival_ps: [streams], when each arrives; -1 where it enters as soon as there is room.
        token_key: [tokens], index that chooses replicas.
        experts: int16 [tokens, MoE layers, k], routing.
        n_experts: routed experts per layer; expert e of MoE layer m has id m x n_experts + e.
        digital_of: [streams], digital unit of a chip that serves a stream.
        steps: the steps of a flight.
        step: the same as columns.
        memory: channel times of requests to off-chip memory.
        copies: where units are served.
        sites: where visits are served.
        slots: switchable crossbars.
        tile_buffer_bytes: capacity of a tile's buffer.
        power_limit_nw: power of the sites of a chip active at once, 0 for no limit.
        tiers: tiers of a tile, of which one is active.
        tier_switch_ps: time to make another one active.
        least_loaded: whether tokens go to the least loaded copy, not by the static rule.
        transport: the network.
        mesh, placement: what the plan was made from.
    """

    phase: str
    flights: Flights
    concurrency: int
    arrival_ps: Int64
    token_key: Int64
    experts: NDArray[np.int16]
    n_experts: int
    digital_of: Int64
    steps: tuple[Step, ...]
    step: StepTable
    memory: MemoryTimes
    copies: Copies
    sites: Sites
    slots: Slots
    tile_buffer_bytes: int
    power_limit_nw: int
    tiers: int
    tier_switch_ps: int
    least_loaded: bool
    transport: Transport
    mesh: ChipMesh
    placement: Placement

    @property
    def chips(self) -> int:
        """Chips of the system."""
        return self.transport.between.chips

    @property
    def n_layers(self) -> int:
        """Decoder layers (rows of the key-value bookkeeping)."""
        return int(self.step.kv.max()) + 1
