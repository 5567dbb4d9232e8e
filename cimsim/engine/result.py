"""Results of a run: latencies, utilisation, counts, switching."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cimsim.config import ChipConfig
from cimsim.cost import ActionCounts
from cimsim.engine.activity import activity_of
from cimsim.engine.belady import belady_hits
from cimsim.engine.cautions import list_cautions, network_level
from cimsim.engine.counts import check_conservation, count_run, tile_busy_ps
from cimsim.engine.network_choice import PACKET_LEVEL, NetworkLevel
from cimsim.engine.noc.packet import BUSY_PS
from cimsim.engine.plan import Plan
from cimsim.engine.raw import PARTS, RawRun
from cimsim.engine.resources import Resource, Utilisation, busiest_resource, list_resources
from cimsim.results import Activity, LinkUse
from cimsim.workload.program import Program

__all__ = ["EngineResult", "Switching", "VisitLog", "make_result"]

Int64 = NDArray[np.int64]
BUSIEST_LINKS = 5  # shown in a trace


@dataclass(frozen=True)
class Switching:
    """Experts written during the run.

    Attributes:
        count: writes of an expert into a slot.
        fetched_bytes: stored weight bytes read from off-chip memory.
        cells: cells written.
        stall_ps: time that visits waited for their expert, summed over visits.
        hit_rate: share of expert visits whose expert was resident at once; None without such
            visits to slots.
        hit_rate_bound: the share that Belady's optimum reaches on the same requests with
            demand fetching, every chip for itself (a prefetching policy may exceed it).
        slot_loads: int64 [slots], loads of each slot.
        writes: int64 [loads, 7]: slot, expert id, start, fetched, arrived, write start, end;
            empty if not recorded.
    """

    count: int
    fetched_bytes: int
    cells: int
    stall_ps: int
    hit_rate: float | None
    hit_rate_bound: float | None
    slot_loads: Int64
    writes: Int64


@dataclass(frozen=True)
class VisitLog:
    """Every visit, for power windows; empty arrays if not recorded.

    Attributes:
        site: [visits], index into `site_names`.
        expert: [visits], expert id (MoE layer x experts + expert) or -1.
        flight, vectors: [visits].
        arrive_ps, start_ps, end_ps: [visits], first input, first vector in, last result.
        site_names: name of every site.
    """

    site: Int64
    expert: Int64
    flight: Int64
    vectors: Int64
    arrive_ps: Int64
    start_ps: Int64
    end_ps: Int64
    site_names: tuple[str, ...]


@dataclass(frozen=True)
class EngineResult:
    """Outcome of one phase on one chip.

    Attributes:
        phase: prefill or decode.
        engine: simpy or compiled.
        tokens: tokens completed.
        makespan_ps: from 0 to the last completion.
        latency_ps: int64 [tokens], from entering (or arriving) to completion of its flight.
        parts_ps: int64 [tokens, 7], columns `parts`, which sum to `latency_ps`.
        parts: queue, compute, noc, dram, write, adc, digital.
        complete_ps: int64 [tokens].
        ttft_ps: int64 [sequences] in prefill: from entering (or arriving) to the completion
            of its last flight; empty in decode.
        request_ps: int64 [streams]: from entering (or arriving) to the completion of the last
            token of a window or sequence.
        request_parts_ps: int64 [streams, 7], columns `parts`, which sum to `request_ps`.
        arrive_ps: int64 [streams], when each entered (or arrived).
        tpot_ps: int64 [tokens] in decode: time per output token of each stream; empty in
            prefill.
        counts: actions for the ledger.
        tile_busy_ps: int64 [tiles], PE busy time over PEs of a tile.
        tile_load_ps: int64 [tiles], sum over visits of vectors x interval.
        utilisation: of every resource.
        network: which level of the network served, and how far it may be trusted there.
        critical_resource: name of the resource with the highest utilisation.
        switching: experts written.
        visits: log of visits.
        peak_buffer_bytes: int64 [tiles].
        power_stall_ps: time that visits waited for chip.power_limit_w, summed (a part of queue).
        events: events processed.
        cautions: what a reader of the latencies must know: saturation, limits of the network
            model; empty if nothing.
        raw: the engine's own arrays.
        plan: what ran.
    """

    phase: str
    engine: str
    tokens: int
    makespan_ps: int
    latency_ps: Int64
    parts_ps: Int64
    parts: tuple[str, ...]
    complete_ps: Int64
    ttft_ps: Int64
    request_ps: Int64
    request_parts_ps: Int64
    arrive_ps: Int64
    tpot_ps: Int64
    counts: ActionCounts
    tile_busy_ps: Int64
    tile_load_ps: Int64
    utilisation: Utilisation
    network: str
    critical_resource: str
    switching: Switching
    visits: VisitLog
    peak_buffer_bytes: Int64
    power_stall_ps: int
    events: int
    cautions: tuple[str, ...]
    raw: RawRun
    plan: Plan

    @cached_property
    def resources(self) -> tuple[Resource, ...]:
        """Every resource by name and place; built when asked for, full-size chips have many."""
        return list_resources(self.plan, self.utilisation)

    def activity(self, phase: str, limit: int) -> Activity:
        """Return what every resource did: the first `limit` slices, under a phase's name."""
        links = sorted(
            (r for r in self.resources if r.kind == "link"), key=lambda r: (-r.utilisation, r.name)
        )
        shown = tuple(LinkUse(r.chip, r.name, r.utilisation) for r in links[:BUSIEST_LINKS])
        return replace(activity_of(self.plan, self.raw, phase, limit), links=shown)


def make_result(
    config: ChipConfig,
    program: Program,
    plan: Plan,
    raw: RawRun,
    engine: str,
    served: NetworkLevel = PACKET_LEVEL,
) -> EngineResult:
    """Turn an engine's arrays into results.

    Args:
        config: the chip.
        program: the decoder.
        plan: what ran.
        raw: how it went.
        engine: simpy or compiled.
        served: level of the network.

    Raises:
        CimsimInternalError: if the engine broke a conservation law.
    """
    check_conservation(plan, raw)
    flights = plan.flights
    latency = raw.done_ps - raw.enter_ps
    first = flights.stream_ptr[:-1]
    request = np.maximum.reduceat(raw.done_ps, first) - raw.enter_ps[first]
    used = _utilisation(plan, raw)
    critical = busiest_resource(plan, used)
    empty = np.zeros(0, dtype=np.int64)
    return EngineResult(
        phase=plan.phase,
        engine=engine,
        tokens=int(flights.size.sum()),
        makespan_ps=raw.end_ps,
        latency_ps=np.repeat(latency, flights.size),
        parts_ps=np.repeat(raw.parts_ps, flights.size, axis=0),
        parts=PARTS,
        complete_ps=np.repeat(raw.done_ps, flights.size),
        ttft_ps=empty if flights.sequential else request,
        request_ps=request,
        request_parts_ps=_request_parts(plan, raw),
        arrive_ps=raw.enter_ps[first],
        tpot_ps=latency if flights.sequential else empty,
        counts=count_run(config, program, plan, raw, raw.end_ps),
        tile_busy_ps=tile_busy_ps(plan, raw.server_busy_ps),
        tile_load_ps=_tile_load(plan, raw),
        utilisation=used,
        network=network_level(plan, raw, served),
        critical_resource=critical,
        switching=_switching(plan, raw),
        visits=_visits(plan, raw),
        peak_buffer_bytes=raw.peak_buffer_bytes,
        power_stall_ps=raw.power_stall_ps,
        events=raw.events,
        cautions=list_cautions(plan, raw, critical, served),
        raw=raw,
        plan=plan,
    )


def _visits(plan: Plan, raw: RawRun) -> VisitLog:
    flight, _, site, expert, vectors, arrive, start, end = raw.visits.T[:8]
    return VisitLog(site, expert, flight, vectors, arrive, start, end, plan.sites.names)


def _request_parts(plan: Plan, raw: RawRun) -> Int64:
    """Return the parts of the time of every stream: all tokens', or the last flight's."""
    pointer = plan.flights.stream_ptr
    if plan.flights.sequential:  # a token starts when the one before is complete
        total: Int64 = np.add.reduceat(raw.parts_ps, pointer[:-1], axis=0)
        return total
    last = [a + int(raw.done_ps[a:b].argmax()) for a, b in pairwise(pointer.tolist())]
    found: Int64 = raw.parts_ps[last]
    return found


def _tile_load(plan: Plan, raw: RawRun) -> Int64:
    sites = plan.sites
    load = np.zeros(plan.mesh.n_tiles, dtype=np.int64)
    of_tile = np.repeat(np.arange(sites.count), np.diff(sites.tile_ptr))
    np.add.at(load, sites.tiles, (raw.site_vectors * sites.interval_ps)[of_tile])
    return load


def _utilisation(plan: Plan, raw: RawRun) -> Utilisation:
    sites, span = plan.sites, max(1, raw.end_ps)
    # A tile is as busy as its busiest PE.
    of_pair = np.repeat(np.arange(sites.n_servers), np.diff(sites.server_tile_ptr))
    busiest = np.zeros(plan.mesh.n_tiles, dtype=np.int64)
    np.maximum.at(busiest, sites.server_tile, (raw.server_busy_ps + raw.server_write_ps)[of_pair])
    return Utilisation(
        tile=busiest / span,
        digital=raw.digital_busy_ps / span,
        link=raw.link_used[:, BUSY_PS] / span,
        dram=raw.dram_busy_ps / span,
    )


def _most_hits(plan: Plan, raw: RawRun, chip: int) -> int:
    """Return the hits of Belady's optimum on one chip: its own requests in its own slots."""
    slots = plan.slots
    asked = raw.requests[slots.home[raw.requests] == chip]
    return belady_hits(asked, slots.initial[slots.chip == chip])


def _switching(plan: Plan, raw: RawRun) -> Switching:
    asked = raw.hits + raw.misses
    best = sum(_most_hits(plan, raw, chip) for chip in range(plan.chips))
    return Switching(
        count=int(raw.loads.sum()),
        fetched_bytes=int((raw.loads * plan.slots.fetch_bytes).sum()),
        cells=int((raw.loads * plan.slots.cells).sum()),
        stall_ps=raw.stall_ps,
        hit_rate=raw.hits / asked if asked else None,
        hit_rate_bound=best / asked if asked else None,
        slot_loads=raw.slot_loads,
        writes=raw.writes,
    )
