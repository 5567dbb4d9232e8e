"""Lower a chip, a placement, a program and a routing trace to a plan."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import ChipMesh, Placement, token_turn
from cimsim.config import ChipConfig
from cimsim.engine.flights import Flights, build_flights
from cimsim.engine.memory import memory_times, most_kv_layers
from cimsim.engine.network import WORD_BITS
from cimsim.engine.noc.packet import NocTiming
from cimsim.engine.placed import Costs, PlacedSites, finish_slots, place_units, power_limit_nw
from cimsim.engine.placed_program import PlacedProgram
from cimsim.engine.plan import ONE_CHIP, ChipNetwork, Copies, FlitSizes, Plan, Ports, Transport
from cimsim.engine.sites import build_sites
from cimsim.engine.step_table import make_step_table
from cimsim.engine.steps import CorrectionWork, Step, build_steps
from cimsim.engine.weight_reads import count_weight_reads
from cimsim.errors import CimsimError
from cimsim.units import BITS_PER_BYTE, period_ps, ps_from_ns
from cimsim.workload.program import Program
from cimsim.workload.trace import RoutingTrace, check_experts

__all__ = ["Costs", "build_plan", "check_trace"]

Int64 = NDArray[np.int64]
NONE = -1
FS_PER_NS = 1_000_000
NO_WORK = CorrectionWork()


def build_plan(
    chip: PlacedProgram,
    trace: RoutingTrace,
    *,
    phase: str,
    batch: int,
    correction: CorrectionWork = NO_WORK,
    arrival_ps: Int64 | None = None,
    expected_load: Int64 | None = None,
) -> Plan:
    """Lower one phase.

    Args:
        chip: the chip with its program.
        trace: routing of every token.
        phase: prefill or decode.
        batch: sequences at once in decode.
        correction: digital work that a calibration adds.
        arrival_ps: [streams], arrival times; None lets streams enter as soon as there is room.
        expected_load: [MoE layers, experts], visits that the pinned policy expects; those of
            the trace by default.

    Raises:
        CimsimError: if trace, placement and program don't go together, or off-chip memory
            is needed and missing.
    """
    config, mesh, placement = chip.config, chip.mesh, chip.placement
    program, cost = chip.program, chip.cost
    check_trace(program, trace)
    load = trace.load() if expected_load is None else expected_load
    flights = build_flights(config, trace, phase, batch)
    concurrency = batch if phase == "decode" else config.workload.in_flight
    reads = count_weight_reads(flights, trace.experts, program.n_experts, concurrency)
    steps = build_steps(program, config, correction, reads)
    placed = place_units(config, placement, program, cost)
    chip_of_step = step_chips(steps, program, mesh, placement)
    step = make_step_table(
        config, program, flights, steps, chip_of_step, placed.group_of, cost.digital_ps
    )
    memory = memory_times(
        config, program, flights, steps, min(concurrency, flights.n_streams),
        most_kv_layers(step.kv, step.chip),
    )  # fmt: skip
    return Plan(
        phase=phase, flights=flights, concurrency=concurrency,
        arrival_ps=_arrivals(arrival_ps, flights),
        token_key=token_turn(trace.sequence, trace.position),
        experts=np.ascontiguousarray(trace.experts), n_experts=program.n_experts,
        digital_of=np.arange(flights.n_streams, dtype=np.int64) % config.digital.units,
        steps=tuple(steps), step=step, memory=memory, copies=_copies(placed),
        sites=build_sites(placed.specs, placed.timing_ps, placed.power_nw, config, mesh),
        slots=finish_slots(placed.slots, placement, config, memory, load),
        tile_buffer_bytes=max(1, int(config.tile.buffers.size_kb * 1024)),
        power_limit_nw=power_limit_nw(config),
        tiers=config.tile.tiers, tier_switch_ps=ps_from_ns(config.tile.tier_switch_ns),
        least_loaded=config.mapping.replica_choice == "least_loaded",
        transport=_transport(config, mesh, int(flights.size.max())),
        mesh=mesh, placement=placement,
    )  # fmt: skip


def _copies(placed: PlacedSites) -> Copies:
    groups, experts = placed.group_sites, placed.expert_sites
    return Copies(
        group_ptr=np.cumsum([0, *map(len, groups)], dtype=np.int64),
        group_sites=np.array([s for g in groups for s in g], dtype=np.int64),
        group_units=tuple(placed.group_units),
        expert_ptr=np.cumsum([0, *map(len, experts)], dtype=np.int64),
        expert_sites=np.array([s for g in experts for s in g], dtype=np.int64),
        expert_units=tuple(placed.expert_units),
    )


def step_chips(steps: list[Step], program: Program, mesh: ChipMesh, placement: Placement) -> Int64:
    """Return the chip whose digital units run each step: where its layer sits, [steps].

    That is the chip of the layer's first unit in program order that is resident or lives in
    slots; layers without any are spread over the chips in order.
    """
    n_layers = len(program.layers) + 1  # the head counts as one
    chip_of = {layer: layer * mesh.chips // n_layers for layer in range(n_layers)}
    seen: set[int] = set()
    for key in placement.units:
        seats = placement.seats_of.get(key, ())
        if key.layer in seen or not (seats or key in placement.homes):
            continue
        seen.add(key.layer)
        chip_of[key.layer] = (
            mesh.chip_of_tile(placement.tile_of(seats[0].crossbars[0]))
            if seats
            else placement.homes[key]
        )
    return np.array([chip_of[s.layer] for s in steps], dtype=np.int64)


def check_trace(program: Program, trace: RoutingTrace) -> None:
    """Check that a routing trace is one of a model.

    Raises:
        CimsimError: if layers, experts per token or experts differ.
    """
    check_experts(trace.experts, program)


def _arrivals(arrival_ps: Int64 | None, flights: Flights) -> Int64:
    if arrival_ps is None:
        return np.full(flights.n_streams, NONE, dtype=np.int64)
    if arrival_ps.shape != (flights.n_streams,) or np.any(np.diff(arrival_ps, prepend=0) < 0):
        raise CimsimError(
            "arrival times must be one per stream, rising from 0 on",
            value=f"{len(arrival_ps)} times",
            allowed=f"{flights.n_streams} times",
        )
    return arrival_ps.astype(np.int64)


def _transport(config: ChipConfig, mesh: ChipMesh, largest: int) -> Transport:
    noc, shape = config.noc, mesh.network
    timing = NocTiming(
        flit_bytes=max(1, noc.flit_bits // 8),
        cycle_ps=period_ps(noc.clock_ghz),
        router_cycles=noc.router_cycles,
        link_cycles=noc.link_cycles,
        buffer_flits=noc.virtual_channels // shape.classes * noc.vc_buffer_flits,
    )
    routers = [
        *mesh.router_of_tiles.tolist(),
        *mesh.router_of_digital,
        *mesh.router_of_channel,
        *(mesh.router_of_gateway if mesh.chips > 1 else ()),
    ]
    ports = Ports(np.array(routers, dtype=np.int64), mesh.n_tiles, mesh.n_digital, mesh.n_channels)
    words = -(-largest // WORD_BITS)
    contended = noc.contention == "packet"
    between = _chip_network(config, mesh)
    sizes = FlitSizes(noc.virtual_channels, noc.vc_buffer_flits, noc.packet_flits)
    return Transport(shape, timing, ports, contended, words, largest == 1, between, sizes)


def _chip_network(config: ChipConfig, mesh: ChipMesh) -> ChipNetwork:
    if mesh.chips == 1:
        return ONE_CHIP
    link, chips = config.system.link, mesh.chips
    pairs = sorted(mesh.between.graph.edges)
    number = np.full((chips, chips), NONE, dtype=np.int64)
    for i, pair in enumerate(pairs):
        number[pair] = i
    after = mesh.between.next_routers()
    on_the_way = np.take_along_axis(number, after, axis=1)
    flit_fs = max(1, round(config.noc.flit_bits / BITS_PER_BYTE / link.gb_per_s * FS_PER_NS))
    return ChipNetwork(after, on_the_way, tuple(pairs), flit_fs, ps_from_ns(link.latency_ns))
