"""Lower a chip, a placement, a program and a routing trace to a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import ChipMesh, Placement, Unit, UnitKey
from cimsim.config import ChipConfig
from cimsim.cost import ActionCounts, Density, Ledger
from cimsim.engine.flights import Flights, build_flights
from cimsim.engine.memory import MemoryTimes, memory_times
from cimsim.engine.noc.packet import NocTiming
from cimsim.engine.noc.shape import NocShape
from cimsim.engine.plan import LRU, POLICIES, Plan, Ports, Slots, Transport
from cimsim.engine.power import site_power_nw
from cimsim.engine.sites import RESULT_BITS, SiteSpec, build_sites
from cimsim.engine.steps import CorrectionWork, Step, build_steps
from cimsim.errors import CimsimError
from cimsim.units import period_ps, ps_from_ns
from cimsim.workload.program import Program
from cimsim.workload.trace import RoutingTrace

__all__ = ["Costs", "build_plan"]

Int64 = NDArray[np.int64]
NONE = -1
WORD_BITS = 64


class SiteMaker(Protocol):
    """Registers a site and returns its index."""

    def __call__(self, unit: Unit, crossbars: tuple[int, ...], name: str) -> int:
        """Register a site."""


class Timing(Protocol):
    """Closed form of a visit: the last of n vectors is done fill + interval x n later."""

    @property
    def fill_ps(self) -> int:
        """Latency beyond the initiation intervals."""

    @property
    def interval_ps(self) -> int:
        """Time between two vectors."""


class Costs(Protocol):
    """Closed-form times and sizes that the engine takes from the cost model."""

    def visit_timing(self, unit: Unit) -> Timing:
        """Return fill and interval of a visit."""

    def programming_ps(self, unit: Unit) -> int:
        """Return the time to write a unit."""

    def programming_bytes(self, unit: Unit) -> int:
        """Return the stored weight bytes of a unit."""

    def digital_ps(self, macs: int, elements: int) -> int:
        """Return the time of a job on one digital unit."""

    def charge(
        self, ledger: Ledger, counts: ActionCounts, density: Mapping[UnitKey, Density] | None
    ) -> None:
        """Append the energy of one phase."""


@dataclass(frozen=True)
class _Placed:
    """Sites of groups and experts before they are flattened."""

    specs: list[SiteSpec]
    timing_ps: list[tuple[int, int]]
    power_nw: list[int]
    group_of: dict[tuple[UnitKey, str], int]
    group_sites: list[list[int]]
    group_units: list[UnitKey]
    expert_sites: list[list[int]]
    expert_units: list[UnitKey]
    slots: Slots


def build_plan(
    config: ChipConfig,
    mesh: ChipMesh,
    placement: Placement,
    program: Program,
    cost: Costs,
    trace: RoutingTrace,
    *,
    phase: str,
    batch: int,
    correction: CorrectionWork,
    arrival_ps: Int64 | None = None,
) -> Plan:
    """Lower one phase.

    Args:
        config: the chip.
        mesh: its geometry.
        placement: where units sit.
        program: the decoder.
        cost: closed-form times.
        trace: routing of every token.
        phase: prefill or decode.
        batch: sequences at once in decode.
        correction: digital work that a calibration adds.
        arrival_ps: [streams], arrival times; None lets streams enter as soon as there is room.

    Raises:
        CimsimError: if trace, placement and program don't go together, or off-chip memory
            is needed and missing.
    """
    _check_trace(program, trace)
    flights = build_flights(config, trace, phase, batch)
    steps = build_steps(program, config, correction)
    concurrency = batch if phase == "decode" else config.workload.in_flight
    largest = int(flights.size.max())
    memory = memory_times(config, program, flights, steps, min(concurrency, flights.n_streams))
    placed = _place(config, placement, program, cost)
    jobs = _job_times(program, cost, flights, steps)
    attention_of, attention_ps = _attention_times(program, cost, flights, steps)
    group = [placed.group_of[_unit_key(s), s.unit[1]] if s.unit else NONE for s in steps]
    shared = [
        placed.group_of[UnitKey(s.layer, "shared"), "all"] if s.shared else NONE for s in steps
    ]
    streams = np.arange(flights.n_streams, dtype=np.int64)
    return Plan(
        phase=phase,
        flights=flights,
        concurrency=concurrency,
        arrival_ps=_arrivals(arrival_ps, flights),
        token_key=trace.sequence + trace.position,
        experts=np.ascontiguousarray(trace.experts),
        n_experts=program.n_experts,
        digital_of=streams % mesh.n_digital,
        steps=tuple(steps),
        job_ps=jobs,
        attention_of=attention_of,
        attention_ps=attention_ps,
        kv_step=np.array([s.kv_layer for s in steps], dtype=np.int64),
        stream_ps=memory.stream_ps,
        embed_ps=memory.embed_ps[: largest + 1],
        kv_read_ps=memory.kv_read_ps,
        kv_write_ps=memory.kv_write_ps,
        dram_latency_ps=ps_from_ns(config.memory.latency_ns),
        step_group=np.array(group, dtype=np.int64),
        step_moe=np.array([s.moe_layer for s in steps], dtype=np.int64),
        step_shared=np.array(shared, dtype=np.int64),
        step_summed=np.array([s.moe_layer != NONE or s.shared for s in steps], dtype=np.int64),
        in_flits=np.array([_in_flits(s, program, config) for s in steps], dtype=np.int64),
        out_flits=np.full(len(steps), _flits(program.d_model * RESULT_BITS, config)),
        group_ptr=np.cumsum([0, *map(len, placed.group_sites)], dtype=np.int64),
        group_sites=np.array([s for g in placed.group_sites for s in g], dtype=np.int64),
        group_units=tuple(placed.group_units),
        expert_ptr=np.cumsum([0, *map(len, placed.expert_sites)], dtype=np.int64),
        expert_sites=np.array([s for g in placed.expert_sites for s in g], dtype=np.int64),
        expert_units=tuple(placed.expert_units),
        sites=build_sites(placed.specs, placed.timing_ps, placed.power_nw, config, mesh),
        slots=_finish_slots(placed.slots, placement, config, memory, trace),
        tile_buffer_bytes=max(1, int(config.tile.buffers.size_kb * 1024)),
        power_limit_nw=_power_limit_nw(config),
        transport=_transport(config, mesh, largest),
        mesh=mesh,
        placement=placement,
    )


def _power_limit_nw(config: ChipConfig) -> int:
    watts = config.chip.power_limit_w
    return 0 if watts is None else max(1, round(watts * 1e9))


def _check_trace(program: Program, trace: RoutingTrace) -> None:
    moe = program.moe_layers
    wanted = (len(moe), program.top_k)
    if trace.experts.shape[1:] != wanted:
        raise CimsimError(
            "the routing trace doesn't fit the model",
            value=f"{trace.experts.shape[1]} MoE layers, top-{trace.experts.shape[2]}",
            allowed=f"{wanted[0]} MoE layers, top-{wanted[1]} for {program.name}",
        )
    top = int(trace.experts.max(initial=0))
    if top >= program.n_experts or int(trace.experts.min(initial=0)) < 0:
        raise CimsimError(
            "the routing trace names an expert that the model doesn't have",
            value=top,
            allowed=f"0 to {program.n_experts - 1}",
        )


def _arrivals(arrival_ps: Int64 | None, flights: Flights) -> Int64:
    if arrival_ps is None:
        return np.full(flights.n_streams, NONE, dtype=np.int64)
    if arrival_ps.shape != (flights.n_streams,) or np.any(np.diff(arrival_ps, prepend=0) < 0):
        raise CimsimError(
            "arrival times must be one a stream, rising from 0 on",
            value=f"{len(arrival_ps)} times",
            allowed=f"{flights.n_streams} times",
        )
    return arrival_ps.astype(np.int64)


def _place(config: ChipConfig, placement: Placement, program: Program, cost: Costs) -> _Placed:
    """Turn seats and slots into site specifications."""
    specs: list[SiteSpec] = []
    timing: list[tuple[int, int]] = []
    power: list[int] = []
    limit = _power_limit_nw(config)
    cache: dict[object, tuple[int, int, int]] = {}

    def site(unit: Unit, crossbars: tuple[int, ...], name: str) -> int:
        shape = (unit.key.part, tuple((t.row_blocks, t.column_blocks) for t in unit.tilings))
        if shape not in cache:
            found = cost.visit_timing(unit)
            drawn = 0
            if limit:
                whole = placement.units[unit.key]
                drawn = site_power_nw(cost, unit, whole, int(found.interval_ps), limit)
            cache[shape] = (int(found.fill_ps), int(found.interval_ps), drawn)
        summed = unit.key.part in {"experts", "shared"}
        specs.append(SiteSpec(unit, crossbars, summed, name))
        timing.append(cache[shape][:2])
        power.append(cache[shape][2])
        return len(specs) - 1

    in_slot = {c for slot in placement.slots for c in slot}
    group_of: dict[tuple[UnitKey, str], int] = {}
    group_sites: list[list[int]] = []
    for key, unit in placement.units.items():
        if key.part == "experts":
            continue
        seats = placement.seats_of.get(key, ())
        if not seats:
            raise CimsimError(
                f"{key} has no place on the chip", hint="only experts may be switched"
            )
        for stage, part, low, high in _stages(unit):
            group_of[key, stage] = len(group_sites)
            group_sites.append(
                [site(part, s.crossbars[low:high], f"{key} {stage} {s.replica}") for s in seats]
            )
    expert_sites: list[list[int]] = []
    expert_units: list[UnitKey] = []
    if "experts" in config.chip.analog_parts:
        for layer in program.moe_layers:
            for expert in range(program.n_experts):
                key = UnitKey(layer, "experts", expert)
                seats = placement.seats_of.get(key, ())
                fixed = [s for s in seats if s.crossbars[0] not in in_slot]
                unit = placement.units[key]
                expert_units.append(key)
                expert_sites.append([site(unit, s.crossbars, f"{key} {s.replica}") for s in fixed])
    slots = _slots(placement, expert_units, expert_sites, site, cost)
    keys = [k for k, _ in group_of]
    return _Placed(
        specs, timing, power, group_of, group_sites, keys, expert_sites, expert_units, slots
    )


def _stages(unit: Unit) -> list[tuple[str, Unit, int, int]]:
    """Return the product stages of a unit: name, its matrices, range of its crossbars."""
    if unit.key.part != "attention":
        return [("all", unit, 0, unit.crossbars)]
    first = tuple(t for t in unit.tilings if t.matrix.id.role != "o")
    second = tuple(t for t in unit.tilings if t.matrix.id.role == "o")
    cut = sum(t.crossbars for t in first)
    return [
        ("qkv", replace(unit, tilings=first), 0, cut),
        ("o", replace(unit, tilings=second), cut, unit.crossbars),
    ]


def _slots(
    placement: Placement,
    expert_units: list[UnitKey],
    expert_sites: list[list[int]],
    site: SiteMaker,
    cost: Costs,
) -> Slots:
    """Make a site of every slot and find what it holds at the start."""
    moving = [e for e, sites in enumerate(expert_sites) if not sites]
    n = len(expert_units)
    write, size, cells = (np.zeros(n, dtype=np.int64) for _ in range(3))
    none, cold = np.zeros(0, dtype=np.int64), np.zeros(n, dtype=np.bool_)
    if not moving:
        return Slots(none, none, write, write.copy(), size, write.copy(), cells, LRU, cold)
    if not placement.slots:
        raise CimsimError(
            f"{len(moving)} experts have no place on the chip and there is no slot to put them in",
            key="chip.switching",
            hint="leave crossbars free for slots, or add tiles",
        )
    units = [placement.units[expert_units[e]] for e in moving]
    shapes = {tuple((t.row_blocks, t.column_blocks) for t in u.tilings) for u in units}
    if len(shapes) > 1:
        raise CimsimError("experts of different shapes cannot share slots", key="chip.switching")
    need = units[0].crossbars
    short = [len(s) for s in placement.slots if len(s) < need]
    if short:
        raise CimsimError(
            "a slot is smaller than an expert",
            value=f"{short[0]} crossbars",
            allowed=f"at least {need} crossbars",
        )
    for e, unit in zip(moving, units, strict=True):
        write[e] = cost.programming_ps(unit)
        size[e] = cost.programming_bytes(unit)
        cells[e] = unit.cells
    sites = [site(units[0], s[:need], f"slot {i}") for i, s in enumerate(placement.slots)]
    slot_of = {c: i for i, slot in enumerate(placement.slots) for c in slot}
    initial = np.full(len(sites), NONE, dtype=np.int64)
    for e in moving:
        for seat in placement.seats_of.get(expert_units[e], ()):
            initial[slot_of[seat.crossbars[0]]] = e
    zero = np.zeros(n, dtype=np.int64)
    return Slots(np.array(sites), initial, write, zero, size, zero.copy(), cells, LRU, cold)


def _finish_slots(
    slots: Slots,
    placement: Placement,
    config: ChipConfig,
    memory: MemoryTimes,
    trace: RoutingTrace,
) -> Slots:
    """Add the policy and the times that fetching weights takes on channels and links."""
    if not len(slots.site):
        return slots
    if config.memory.kind == "none":
        raise CimsimError(
            "experts that are not resident come from off-chip memory, and the chip has none",
            key="memory.kind",
            value="none",
        )
    per_tile = placement.crossbars_per_tile
    need = max(placement.units[k].crossbars for k in placement.units if k.part == "experts")
    tiles = max(len({c // per_tile for c in s[:need]}) for s in placement.slots)
    flit_bits = config.noc.flit_bits * config.memory.channels * tiles
    return replace(
        slots,
        fetch_ps=memory.transfer_all(slots.fetch_bytes),
        fetch_flits=-(-slots.fetch_bytes * 8 // flit_bits),
        policy=POLICIES[config.chip.switching],
        hot=_hot_experts(slots, trace),
    )


def _hot_experts(slots: Slots, trace: RoutingTrace) -> NDArray[np.bool_]:
    """Return the experts that the pinned policy keeps: the most used, in 3/4 of the slots."""
    load = np.where(slots.write_ps > 0, trace.load().ravel(), -1)
    kept = len(slots.site) - max(1, len(slots.site) // 4)
    hot = np.zeros(len(load), dtype=np.bool_)
    hot[np.argsort(-load, kind="stable")[:kept]] = True
    return hot & (load > 0)


def _job_times(program: Program, cost: Costs, flights: Flights, steps: list[Step]) -> Int64:
    """Return the time of every job without attention, [steps, largest flight + 1]."""
    del program
    largest = int(flights.size.max())
    table = np.zeros((len(steps), largest + 1), dtype=np.int64)
    cache: dict[tuple[int, int], int] = {(0, 0): 0}
    for n in np.unique(flights.size).tolist():
        for i, step in enumerate(steps):
            key = (n * sum(step.work.macs.values()), n * sum(step.work.elements.values()))
            if key not in cache:
                cache[key] = int(cost.digital_ps(*key))
            table[i, n] = cache[key]
    return table


def _attention_times(
    program: Program, cost: Costs, flights: Flights, steps: list[Step]
) -> tuple[Int64, Int64]:
    """Return times of the jobs that attend, which depend on the context of the flight."""
    rows: dict[tuple[int, int], int] = {}
    of_step = np.full(len(steps), NONE, dtype=np.int64)
    for i, step in enumerate(steps):
        if step.kv_layer != NONE:
            key = (sum(step.work.macs.values()), sum(step.work.elements.values()))
            of_step[i] = rows.setdefault(key, len(rows))
    shapes = np.stack([flights.size, flights.context_sum()], axis=1)
    unique, inverse = np.unique(shapes, axis=0, return_inverse=True)
    times = np.zeros((len(rows), len(unique)), dtype=np.int64)
    for (macs, elements), row in rows.items():
        for j, (n, context) in enumerate(unique.tolist()):
            times[row, j] = cost.digital_ps(
                n * macs + 2 * context * program.d_attention,
                n * elements + context * program.n_heads,
            )
    return of_step, np.ascontiguousarray(times[:, inverse.ravel()])


def _unit_key(step: Step) -> UnitKey:
    assert step.unit is not None  # noqa: S101 - asked only of steps that visit a fixed unit
    return UnitKey(step.layer, step.unit[0])


def _in_flits(step: Step, program: Program, config: ChipConfig) -> int:
    width = program.d_attention if step.unit == ("attention", "o") else program.d_model
    return _flits(width * config.tile.input.bits, config)


def _flits(bits: int, config: ChipConfig) -> int:
    return max(1, -(-bits // config.noc.flit_bits))


def _transport(config: ChipConfig, mesh: ChipMesh, largest: int) -> Transport:
    noc = config.noc
    concentration = mesh.concentration if mesh.kind == "cmesh" else 1
    kind = config.noc.kind
    shape = NocShape(kind, mesh.width, mesh.height, concentration)
    timing = NocTiming(
        flit_bytes=max(1, noc.flit_bits // 8),
        cycle_ps=period_ps(noc.clock_ghz),
        router_cycles=noc.router_cycles,
        link_cycles=noc.link_cycles,
    )
    routers = [
        *(mesh.router_of_tile(t) for t in range(mesh.n_tiles)),
        *mesh.router_of_digital,
        *mesh.router_of_channel,
    ]
    ports = Ports(np.array(routers, dtype=np.int64), mesh.n_tiles, mesh.n_digital, mesh.n_channels)
    words = -(-largest // WORD_BITS)
    return Transport(shape, timing, ports, noc.contention == "packet", words, largest == 1)
