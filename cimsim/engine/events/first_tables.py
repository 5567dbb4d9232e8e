"""Tables of a plan before anything has happened."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    n, layers, n_experts = flights.count, plan.n_layers, len(plan.copies.expert_units)
    live, most, bound = _live_flights(plan), _visits_a_stage(plan), visit_bound(plan)
    pool = live * most + 1
    targets = max(1, most * int(np.diff(sites.in_ptr).max(initial=1)))
    words, switched = plan.transport.words, bool(len(slots.site))
    loads = 2 * bound + len(slots.site) if record and switched else 0
    heap = pool + live + plan.mesh.n_tiles + len(slots.site) + 8
    learns = plan.experts.shape[1] - 1 if switched else 0
    tile, releases = _tile_table(plan, pool)
    visit = np.zeros(pool, dtype=r.VISIT_STATE)
    visit["next"] = np.arange(1, pool + 1)
    return Tables(
        now=_records(1, r.SCALARS, left=n, stop_ps=NONE),
        fixed=_constants(plan, record=record, max_events=max_events, flit=flit),
        flight=_flight_table(plan), stream=_stream_table(plan),
        step=_step_table(plan), site=_site_table(plan),
        flight_parts=_zeros(n, len(PARTS)), prefix=_zeros(flights.n_streams, layers),
        server=_records(sites.n_servers, r.SERVER), tile=tile, releases=releases,
        digital=_records(plan.mesh.n_digital, r.DIGITAL_UNIT), chip=_records(plan.chips, r.CHIP),
        slot=_slot_table(plan), expert=_expert_table(plan),
        job_ps=plan.step.job_ps, attention_ps=plan.step.attention_ps,
        embed_ps=plan.memory.embed_ps,
        published=np.zeros((n, layers), dtype=np.uint8),
        servers=sites.servers, tiles=sites.tiles, tier=sites.tier, tier_turns=sites.tier_turns,
        ins=sites.in_tiles,
        pairs=_records(
            len(sites.pair_round), r.PAIR, round=sites.pair_round, source=sites.pair_source,
            target=sites.pair_target, flits=sites.pair_flits,
        ),
        outs=_records(len(sites.out_tiles), r.OUTPUT, tile=sites.out_tiles, flits=sites.out_flits),
        group_ptr=plan.copies.group_ptr, group_sites=plan.copies.group_sites,
        expert_sites=plan.copies.expert_sites, token_key=plan.token_key, experts=plan.experts,
        drawing=np.zeros((plan.chips, pool if plan.power_limit_nw else 0), dtype=r.DRAW),
        visit=visit, visit_parts=_zeros(pool, VISIT_PARTS),
        masks=np.zeros((pool, words), dtype=np.uint64),
        heap=_records(heap, r.EVENT),
        stream_queue=_zeros(flights.n_streams + 1), slot_queue=_zeros(plan.chips, n_experts + 1),
        followed=_zeros(max(0, learns), *[plan.n_experts * switched] * 2),
        scores=_zeros(plan.n_experts), likely=_zeros(plan.experts.shape[2]),
        visit_log=_records(bound * record, r.VISIT_ROW),
        job_log=_records(n * len(plan.steps) * record, r.JOB_ROW),
        load_log=_records(loads, r.LOAD_ROW),
        memory_log=_records((_requests(plan) + loads) * record, r.MEMORY_ROW),
        requests=_zeros(bound * switched),
        scratch=np.full(sites.count + n_experts, NONE, dtype=np.int64),
        scratch_tiles=_zeros(pool), outbox=_zeros(2 * pool), ports=_zeros(targets),
        port_masks=np.zeros((targets, words), dtype=np.uint64),
        times=_zeros(2, targets),
        net=make_network(plan.transport),
    )  # fmt: skip


def visit_bound(plan: Plan) -> int:
    """Return an upper bound of the visits of a run."""
    sizes, counts = np.unique(plan.flights.size, return_counts=True)
    copies = _most_copies(plan)
    total = 0
    for step in range(len(plan.steps)):
        fixed = int(plan.step.group[step] != NONE) + int(plan.step.shared[step] != NONE)
        per_flight = np.minimum(sizes, copies) * fixed
        if plan.step.moe[step] != NONE:
            routed = np.minimum(sizes * plan.experts.shape[2], plan.n_experts * copies)
            per_flight = per_flight + routed
        total += int((per_flight * counts).sum())
    return total


def _requests(plan: Plan) -> int:
    """Return an upper bound of what jobs ask of memory: operands, and room for what is new."""
    keys = int(np.sum(plan.step.kv != NONE))
    streams = int(np.sum(plan.memory.stream_ps > 0))
    return plan.flights.count * (streams + 2 * keys + 1)


def _most_copies(plan: Plan) -> int:
    groups = int(np.diff(plan.copies.group_ptr).max(initial=1))
    experts = int(np.diff(plan.copies.expert_ptr).max(initial=1))
    return max(groups, experts)


def _visits_a_stage(plan: Plan) -> int:
    copies = _most_copies(plan)
    most: int = int(plan.flights.size.max()) * (plan.experts.shape[2] + 1)
    return min(most, plan.n_experts * copies + copies) + copies


def _live_flights(plan: Plan) -> int:
    flights = plan.flights
    longest = 1 if flights.sequential else int(np.diff(flights.stream_ptr).max())
    return min(flights.count, plan.concurrency * longest)


def _zeros(*shape: int) -> NDArray[np.int64]:
    return np.zeros(shape, dtype=np.int64)


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
        open=plan.arrival_ps[0] != NONE, latency_ps=plan.memory.latency_ps,
        capacity_bytes=plan.tile_buffer_bytes, first_digital=ports.first_digital,
        first_channel=ports.first_channel, channels=ports.n_channels // plan.chips,
        record=record, policy=plan.slots.policy, n_experts=plan.n_experts,
        top_k=plan.experts.shape[2], steps=len(plan.steps),
        cycle_ps=plan.transport.timing.cycle_ps,
        most_events=NONE if max_events is None else max_events,
        power_limit_nw=plan.power_limit_nw, least_loaded=plan.least_loaded, flit=flit,
        tiers=plan.tiers, tier_switch_ps=plan.tier_switch_ps,
    )  # fmt: skip


def _flight_table(plan: Plan) -> Records:
    flights = plan.flights
    return _records(
        flights.count, r.FLIGHT,
        first=flights.first, size=flights.size, stream=flights.stream, needs=flights.needs,
        kv_read_ps=plan.memory.kv_read_ps, kv_write_ps=plan.memory.kv_write_ps,
        head=NONE, tail=NONE, kv_wait=NONE,
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
        kv=plan.step.kv, attention=plan.step.attention, stream_ps=plan.memory.stream_ps,
        group=plan.step.group, moe=plan.step.moe, shared=plan.step.shared,
        summed=plan.step.summed, in_flits=plan.step.in_flits, out_flits=plan.step.out_flits,
        visits=[s.visits for s in plan.steps], chip=plan.step.chip, digital=plan.step.digital,
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
    for expert, (low, high) in enumerate(pairwise(plan.copies.expert_ptr.tolist())):
        table["expert"][plan.copies.expert_sites[low:high]] = expert
    return table


def _tile_table(plan: Plan, visits: int) -> tuple[Records, Records]:
    """Return the tile table and room for what each tile's buffer will give back.

    That is no more than fits a buffer, and no more than the visits that are under way at once:
    who takes room first drops what is free by then, and a flight is at one stage until its last
    result is ready.

    Args:
        plan: what runs.
        visits: under way at once, at most.
    """
    sites, capacity = plan.sites, plan.tile_buffer_bytes
    least = np.full(plan.mesh.n_tiles, capacity, dtype=np.int64)
    of_tile = np.repeat(np.arange(sites.count), np.diff(sites.tile_ptr))
    np.minimum.at(least, sites.tiles, np.minimum(sites.buffer_bytes, capacity)[of_tile])
    room = np.minimum(capacity // np.maximum(least, 1) + 1, visits)
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
        len(plan.copies.expert_units), r.EXPERT_STATE,
        sites=plan.copies.expert_ptr[:-1], sites_end=plan.copies.expert_ptr[1:],
        slot=NONE, head=NONE, tail=NONE,
        write_ps=slots.write_ps, fetch_ps=slots.fetch_ps, flits=slots.fetch_flits, hot=slots.hot,
        home=slots.home,
    )  # fmt: skip
    held = np.flatnonzero(slots.initial != NONE)
    table["slot"][slots.initial[held]] = held
    return table
