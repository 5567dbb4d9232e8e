"""Tables of a plan before anything has happened."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from cimsim.engine.events import records as r
from cimsim.engine.events.tables import Records, Tables
from cimsim.engine.idle_network import make_network
from cimsim.engine.plan import Plan
from cimsim.engine.raw import PARTS, VISIT_PARTS

__all__ = ["make_tables", "visit_bound"]

NONE = -1


def make_tables(plan: Plan, *, record: bool, max_events: int | None, flit: bool = False) -> Tables:
    """Build the tables of a run.

    Args:
        plan: what runs.
        record: whether to keep logs of visits, jobs, loads and memory.
        max_events: give up after this many events.
        flit: whether transfers happen elsewhere, flit by flit.
    """
    flights, sites, slots = plan.flights, plan.sites, plan.slots
    n, layers, n_experts = flights.count, plan.n_layers, len(plan.expert_units)
    live, most, bound = _live_flights(plan), _visits_a_stage(plan), visit_bound(plan)
    pool = live * most + 1
    targets = max(1, most * int(np.diff(sites.in_ptr).max(initial=1)))
    words, switched = plan.transport.words, bool(len(slots.site))
    loads = 2 * bound + len(slots.site) if record and switched else 0
    heap = pool + live + plan.mesh.n_tiles + len(slots.site) + 8
    learns = plan.experts.shape[1] - 1 if switched else 0
    tile, releases = _tile_table(plan)
    visit = np.zeros(pool, dtype=r.VISIT_STATE)
    visit["next"] = np.arange(1, pool + 1)
    return Tables(
        now=_records(1, r.SCALARS, left=n, stop_ps=NONE),
        fixed=_constants(plan, record=record, max_events=max_events, flit=flit),
        flight=_flight_table(plan),
        flight_parts=np.zeros((n, len(PARTS)), dtype=np.int64),
        stream=_stream_table(plan),
        step=_step_table(plan),
        site=_site_table(plan),
        server=_records(sites.n_servers, r.SERVER),
        digital=_records(plan.mesh.n_digital, r.DIGITAL_UNIT),
        chip=_records(plan.chips, r.CHIP),
        tile=tile,
        slot=_slot_table(plan),
        expert=_expert_table(plan),
        job_ps=plan.job_ps,
        attention_ps=plan.attention_ps,
        embed_ps=plan.embed_ps,
        published=np.zeros((n, layers), dtype=np.uint8),
        prefix=np.zeros((flights.n_streams, layers), dtype=np.int64),
        servers=sites.servers,
        tiles=sites.tiles,
        ins=sites.in_tiles,
        pairs=_records(
            len(sites.pair_round), r.PAIR, round=sites.pair_round, source=sites.pair_source,
            target=sites.pair_target, flits=sites.pair_flits,
        ),
        outs=_records(
            len(sites.out_tiles), r.OUTPUT, tile=sites.out_tiles, flits=sites.out_flits
        ),
        group_ptr=plan.group_ptr,
        group_sites=plan.group_sites,
        expert_sites=plan.expert_sites,
        token_key=plan.token_key,
        experts=plan.experts,
        releases=releases,
        drawing=np.zeros((plan.chips, pool if plan.power_limit_nw else 0), dtype=r.DRAW),
        visit=visit,
        visit_parts=np.zeros((pool, VISIT_PARTS), dtype=np.int64),
        masks=np.zeros((pool, words), dtype=np.uint64),
        heap=_records(heap, r.EVENT),
        stream_queue=np.zeros(flights.n_streams + 1, dtype=np.int64),
        slot_queue=np.zeros((plan.chips, n_experts + 1), dtype=np.int64),
        followed=np.zeros((max(0, learns), *[plan.n_experts * switched] * 2), dtype=np.int64),
        scores=np.zeros(plan.n_experts, dtype=np.int64),
        likely=np.zeros(plan.experts.shape[2], dtype=np.int64),
        visit_log=_records(bound * record, r.VISIT_ROW),
        job_log=_records(n * len(plan.steps) * record, r.JOB_ROW),
        load_log=_records(loads, r.LOAD_ROW),
        memory_log=_records((_requests(plan) + loads) * record, r.MEMORY_ROW),
        requests=np.zeros(bound * switched, dtype=np.int64),
        scratch=np.full(sites.count + n_experts, NONE, dtype=np.int64),
        scratch_tiles=np.zeros(pool, dtype=np.int64),
        outbox=np.zeros(2 * pool, dtype=np.int64),
        ports=np.zeros(targets, dtype=np.int64),
        port_masks=np.zeros((targets, words), dtype=np.uint64),
        times=np.zeros((2, targets), dtype=np.int64),
        net=make_network(plan.transport),
    )  # fmt: skip


def visit_bound(plan: Plan) -> int:
    """Return an upper bound of the visits of a run."""
    sizes, counts = np.unique(plan.flights.size, return_counts=True)
    copies = _most_copies(plan)
    total = 0
    for step in range(len(plan.steps)):
        fixed = int(plan.step_group[step] != NONE) + int(plan.step_shared[step] != NONE)
        per_flight = np.minimum(sizes, copies) * fixed
        if plan.step_moe[step] != NONE:
            routed = np.minimum(sizes * plan.experts.shape[2], plan.n_experts * copies)
            per_flight = per_flight + routed
        total += int((per_flight * counts).sum())
    return total


def _requests(plan: Plan) -> int:
    """Return an upper bound of what jobs ask of memory: operands, and room for what is new."""
    keys = int(np.sum(plan.kv_step != NONE))
    streams = int(np.sum(plan.stream_ps > 0))
    return plan.flights.count * (streams + 2 * keys + 1)


def _most_copies(plan: Plan) -> int:
    groups = int(np.diff(plan.group_ptr).max(initial=1))
    experts = int(np.diff(plan.expert_ptr).max(initial=1))
    return max(groups, experts)


def _visits_a_stage(plan: Plan) -> int:
    copies = _most_copies(plan)
    most: int = int(plan.flights.size.max()) * (plan.experts.shape[2] + 1)
    return min(most, plan.n_experts * copies + copies) + copies


def _live_flights(plan: Plan) -> int:
    flights = plan.flights
    longest = 1 if flights.sequential else int(np.diff(flights.stream_ptr).max())
    return min(flights.count, plan.concurrency * longest)


def _records(count: int, kind: np.dtype[np.void], **columns: Any) -> Records:
    """Return records with some columns filled."""
    table = np.zeros(count, dtype=kind)
    for name, column in columns.items():
        table[name] = column
    return table


def _constants(plan: Plan, *, record: bool, max_events: int | None, flit: bool) -> Records:
    ports = plan.transport.ports
    return _records(
        1, r.CONSTANTS,
        concurrency=plan.concurrency, sequential=plan.flights.sequential,
        open=plan.arrival_ps[0] != NONE, latency_ps=plan.dram_latency_ps,
        capacity_bytes=plan.tile_buffer_bytes, first_digital=ports.first_digital,
        first_channel=ports.first_channel, channels=ports.n_channels // plan.chips,
        record=record, policy=plan.slots.policy, n_experts=plan.n_experts,
        top_k=plan.experts.shape[2], steps=len(plan.steps),
        cycle_ps=plan.transport.timing.cycle_ps,
        most_events=NONE if max_events is None else max_events,
        power_limit_nw=plan.power_limit_nw, least_loaded=plan.least_loaded, flit=flit,
    )  # fmt: skip


def _flight_table(plan: Plan) -> Records:
    flights = plan.flights
    return _records(
        flights.count, r.FLIGHT,
        first=flights.first, size=flights.size, stream=flights.stream, needs=flights.needs,
        kv_read_ps=plan.kv_read_ps, kv_write_ps=plan.kv_write_ps, head=NONE, tail=NONE,
        kv_wait=NONE,
    )  # fmt: skip


def _stream_table(plan: Plan) -> Records:
    pointer = plan.flights.stream_ptr
    return _records(
        len(pointer) - 1, r.STREAM,
        first=pointer[:-1], end=pointer[1:], arrival_ps=plan.arrival_ps, left=np.diff(pointer),
        digital=plan.digital_of,
    )  # fmt: skip


def _step_table(plan: Plan) -> Records:
    return _records(
        len(plan.steps), r.STEP,
        kv=plan.kv_step, attention=plan.attention_of, stream_ps=plan.stream_ps,
        group=plan.step_group, moe=plan.step_moe, shared=plan.step_shared,
        summed=plan.step_summed, in_flits=plan.in_flits, out_flits=plan.out_flits,
        visits=[s.visits for s in plan.steps], chip=plan.step_chip, digital=plan.step_digital,
    )  # fmt: skip


def _site_table(plan: Plan) -> Records:
    sites = plan.sites
    table = _records(
        sites.count, r.SITE,
        fill_ps=sites.fill_ps, interval_ps=sites.interval_ps, adc_fill_ps=sites.adc_fill_ps,
        adc_interval_ps=sites.adc_interval_ps, vector_bytes=sites.buffer_bytes,
        power_nw=sites.power_nw, expert=NONE,
        chip=sites.tiles[sites.tile_ptr[:-1]] // plan.mesh.chip_tiles,
    )  # fmt: skip
    pointers = {
        "servers": sites.server_ptr, "tiles": sites.tile_ptr, "ins": sites.in_ptr,
        "pairs": sites.pair_ptr, "outs": sites.out_ptr,
    }  # fmt: skip
    for name, pointer in pointers.items():
        table[name], table[f"{name}_end"] = pointer[:-1], pointer[1:]
    for expert, (low, high) in enumerate(pairwise(plan.expert_ptr.tolist())):
        table["expert"][plan.expert_sites[low:high]] = expert
    return table


def _tile_table(plan: Plan) -> tuple[Records, Records]:
    """Return the tile table and room for what each tile's buffer will give back."""
    sites, capacity = plan.sites, plan.tile_buffer_bytes
    least = np.full(plan.mesh.n_tiles, capacity, dtype=np.int64)
    of_tile = np.repeat(np.arange(sites.count), np.diff(sites.tile_ptr))
    np.minimum.at(least, sites.tiles, np.minimum(sites.buffer_bytes, capacity)[of_tile])
    room = capacity // np.maximum(least, 1) + 1
    table = _records(
        plan.mesh.n_tiles, r.TILE, head=NONE, tail=NONE, release=np.cumsum(room) - room
    )
    return table, _records(int(room.sum()), r.RELEASE)


def _slot_table(plan: Plan) -> Records:
    slots, n = plan.slots, len(plan.slots.site)
    return _records(
        n, r.SLOT, site=slots.site, chip=slots.chip, holds=slots.initial, last_use=range(-n, 0)
    )


def _expert_table(plan: Plan) -> Records:
    slots = plan.slots
    table = _records(
        len(plan.expert_units), r.EXPERT_STATE,
        sites=plan.expert_ptr[:-1], sites_end=plan.expert_ptr[1:], slot=NONE, head=NONE, tail=NONE,
        write_ps=slots.write_ps, fetch_ps=slots.fetch_ps, flits=slots.fetch_flits, hot=slots.hot,
        home=slots.home,
    )  # fmt: skip
    held = np.flatnonzero(slots.initial != NONE)
    table["slot"][slots.initial[held]] = held
    return table
