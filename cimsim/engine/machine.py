"""Tables of the compiled engine: integers that its kernels change in place.

Each table has one row a thing (flight, site, tile, slot, ...) and named columns, so that a
kernel takes one short tuple of arrays. The meaning of every quantity is that of the
reference engine.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.network import Network, make_network
from cimsim.engine.plan import Plan
from cimsim.engine.raw import VISIT_PARTS

__all__ = ["Tables", "make_tables", "visit_bound"]

Int64 = NDArray[np.int64]
NONE = -1

# Columns of `flight`; seven latency parts follow PARTS.
(
    FIRST, SIZE, STREAM, NEEDS, KV_READ, KV_WRITE, ENTER, DONE, STEP, PENDING, VISIT_HEAD,
    VISIT_TAIL, KV_WAIT, KV_SINCE, PARTS,
) = range(15)  # fmt: skip
# Columns of `step`.
(
    KV, ATTENTION, FETCH, GROUP, MOE, SHARED, SUMMED, IN_FLITS, OUT_FLITS, VISITS, STEP_CHIP,
    STEP_DIGITAL,
) = range(12)  # fmt: skip
# Columns of `site`.
(
    FILL, INTERVAL, VECTOR_BYTES, SERVERS, SERVERS_END, TILES, TILES_END, INS, INS_END, PAIRS,
    PAIRS_END, OUTS, OUTS_END, SITE_VECTORS, SITE_VISITS, SITE_EXPERT, POWER, SENT, SITE_CHIP,
    ADC_FILL, ADC_INTERVAL,
) = range(21)  # fmt: skip
# Columns of `server`, `digital` and `dram`; of `stream`.
FREE, BUSY, WRITTEN = range(3)
S_FIRST, S_END, S_ARRIVAL, S_LEFT, S_DIGITAL = range(5)
# Columns of `tile`.
HELD, PEAK, ARMED, WAIT_HEAD, WAIT_TAIL, RELEASE, RELEASES = range(7)
# Columns of `slot`.
(
    SLOT_SITE, HOLDS, PINS, LOADING, LAST_USE, L_START, L_FETCHED, L_ARRIVED, L_WRITE, L_END,
    SLOT_CHIP, SLOT_LOADS,
) = range(12)  # fmt: skip
# Columns of `expert`.
(
    E_SITES,
    E_SITES_END,
    E_SLOT,
    E_VECTORS,
    E_LOADS,
    E_HEAD,
    E_TAIL,
    E_USES,
    E_WRITE,
    E_FETCH,
    E_FLITS,
    E_HOT,
    E_HOME,
) = range(13)
# First entries of a row of `slot_queue`; a ring of experts follows.
Q_FIRST, Q_COUNT, Q_RING = range(3)  # fmt: skip
# Columns of `pool` (visits); six latency parts follow V_PARTS.
(
    V_FLIGHT, V_SITE, V_EXPERT, V_SIZE, V_ASKED, V_TAIL, V_FIRST, V_FINISH, V_NEXT, V_WAIT_NEXT,
    V_PARTS,
) = range(11)  # fmt: skip
# Entries of `now`: scalars that change.
(
    TIME, SEQUENCE, HEAPED, LEFT, ACTIVE, NEXT_STREAM, CLOCK, HITS, MISSES,
    STALL, POOL_FREE, VISIT_ROWS, JOB_ROWS, LOAD_ROWS, STREAM_QUEUE, STREAM_QUEUED, EVENTS,
    STOP_TIME, STOP_SEQUENCE, REQUESTED, FAILED, MOVED, POWER_STALL, MEMORY_ROWS,
) = range(24)  # fmt: skip
# Entries of `fixed`: scalars that do not.
(
    CONCURRENCY, SEQUENTIAL, LATENCY, CAPACITY, FIRST_DIGITAL, FIRST_CHANNEL, CHANNELS, RECORD,
    POLICY, N_EXPERTS, STEPS, OPEN, CYCLE, MAX_EVENTS, TOP_K, POWER_LIMIT, LEAST_LOADED,
) = range(17)  # fmt: skip


class Tables(NamedTuple):
    """Tables of one run, owned by Python; columns are named above.

    Attributes:
        now, fixed: scalars.
        flight, stream, step, site, server, digital, dram, tile, slot, expert: one row each;
            `dram` has one a chip.
        job_ps, attention_ps, embed_ps: times of jobs and of reading embeddings.
        published, prefix: keys and values, [flights, layers] and [streams, layers].
        servers, tiles, ins, pairs, outs: rows of the sites, flattened.
        group_ptr, group_sites, expert_sites: sites of copies.
        token_key, experts: the routing.
        releases: [.., 2], per tile a heap of (time, bytes) that will be given back.
        drawing: [chips, .., 2], ends and power of visits that draw power, in order of their
            end; the first row of a chip says how many there are.
        pool, masks: visits and their tokens.
        heap: [.., 3], events: time, sequence, argument x 8 + kind.
        stream_queue: streams that wait.
        slot_queue: [chips, ..], experts that wait for a slot of a chip.
        followed: [layers - 1, experts, experts], routing history of the prefetcher.
        visit_log, job_log, load_log, memory_log, requests: logs.
        scratch: [sites + experts], visit of the current stage by target.
        scratch_tiles: tiles to whose queues visits moved.
        ports, port_masks, times: arguments of the transport kernels.
        net: the network.
    """

    now: Int64
    fixed: Int64
    flight: Int64
    stream: Int64
    step: Int64
    site: Int64
    server: Int64
    digital: Int64
    dram: Int64
    tile: Int64
    slot: Int64
    expert: Int64
    job_ps: Int64
    attention_ps: Int64
    embed_ps: Int64
    published: NDArray[np.uint8]
    prefix: Int64
    servers: Int64
    tiles: Int64
    ins: Int64
    pairs: Int64
    outs: Int64
    group_ptr: Int64
    group_sites: Int64
    expert_sites: Int64
    token_key: Int64
    experts: NDArray[np.int16]
    releases: Int64
    drawing: Int64
    pool: Int64
    masks: NDArray[np.uint64]
    heap: Int64
    stream_queue: Int64
    slot_queue: Int64
    followed: Int64
    visit_log: Int64
    job_log: Int64
    load_log: Int64
    memory_log: Int64
    requests: Int64
    scratch: Int64
    scratch_tiles: Int64
    ports: Int64
    port_masks: NDArray[np.uint64]
    times: Int64
    net: Network


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


def make_tables(plan: Plan, *, record: bool, max_events: int | None) -> Tables:
    """Build the tables of a run.

    Args:
        plan: what runs.
        record: whether to keep logs of visits, jobs, loads and memory.
        max_events: give up after this many events.
    """
    flights, sites, slots = plan.flights, plan.sites, plan.slots
    live_flights = _live_flights(plan)
    most_visits = _visits_a_stage(plan)
    pool = live_flights * most_visits + 1
    bound = visit_bound(plan)
    widest = int(np.diff(sites.in_ptr).max(initial=1))
    words = plan.transport.words
    n_slots, n_experts = len(slots.site), len(plan.expert_units)
    switched = bool(n_slots)
    layers = plan.experts.shape[1]
    prefetch = (max(0, layers - 1), plan.n_experts, plan.n_experts) if switched else (0, 0, 0)
    heap = pool + live_flights + plan.mesh.n_tiles + n_slots + 8
    rows = bound if record else 0
    loads = 2 * bound + n_slots if record and switched else 0
    tile, releases = _tile_table(plan)
    pairs = (sites.pair_round, sites.pair_source, sites.pair_target, sites.pair_flits)
    links = np.zeros((pool, V_PARTS + VISIT_PARTS), dtype=np.int64)
    links[:, V_NEXT] = np.arange(1, pool + 1)
    return Tables(
        now=_scalars(flights.count),
        fixed=_constants(plan, record=record, max_events=max_events),
        flight=_flight_table(plan),
        stream=_stream_table(plan),
        step=_step_table(plan),
        site=_site_table(plan),
        server=np.zeros((sites.n_servers, 3), dtype=np.int64),
        digital=np.zeros((plan.mesh.n_digital, 2), dtype=np.int64),
        dram=np.zeros((plan.chips, 2), dtype=np.int64),
        tile=tile,
        slot=_slot_table(plan),
        expert=_expert_table(plan),
        job_ps=plan.job_ps,
        attention_ps=plan.attention_ps,
        embed_ps=plan.embed_ps,
        published=np.zeros((flights.count, plan.n_layers), dtype=np.uint8),
        prefix=np.zeros((flights.n_streams, plan.n_layers), dtype=np.int64),
        servers=sites.servers,
        tiles=sites.tiles,
        ins=sites.in_tiles,
        pairs=np.stack(pairs, axis=1),
        outs=np.stack([sites.out_tiles, sites.out_flits], axis=1),
        group_ptr=plan.group_ptr,
        group_sites=plan.group_sites,
        expert_sites=plan.expert_sites,
        token_key=plan.token_key,
        experts=plan.experts,
        releases=releases,
        drawing=np.zeros((plan.chips, pool + 1 if plan.power_limit_nw else 0, 2), dtype=np.int64),
        pool=links,
        masks=np.zeros((pool, words), dtype=np.uint64),
        heap=np.zeros((heap, 3), dtype=np.int64),
        stream_queue=np.zeros(flights.n_streams + 1, dtype=np.int64),
        slot_queue=np.zeros((plan.chips, Q_RING + n_experts + 1), dtype=np.int64),
        followed=np.zeros(prefetch, dtype=np.int64),
        visit_log=np.zeros((rows, 9), dtype=np.int64),
        job_log=np.zeros((flights.count * len(plan.steps) if record else 0, 5), dtype=np.int64),
        load_log=np.zeros((loads, 7), dtype=np.int64),
        memory_log=np.zeros((_requests(plan) + loads if record else 0, 6), dtype=np.int64),
        requests=np.zeros(bound if switched else 0, dtype=np.int64),
        scratch=np.full(sites.count + n_experts, NONE, dtype=np.int64),
        scratch_tiles=np.zeros(pool, dtype=np.int64),
        ports=np.zeros(max(1, most_visits * widest), dtype=np.int64),
        port_masks=np.zeros((max(1, most_visits * widest), words), dtype=np.uint64),
        times=np.zeros((2, max(1, most_visits * widest)), dtype=np.int64),
        net=make_network(plan.transport),
    )


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


def _scalars(flights: int) -> Int64:
    now = np.zeros(24, dtype=np.int64)
    now[LEFT] = flights
    now[STOP_TIME] = NONE
    return now


def _constants(plan: Plan, *, record: bool, max_events: int | None) -> Int64:
    ports = plan.transport.ports
    fixed = np.zeros(17, dtype=np.int64)
    fixed[CONCURRENCY] = plan.concurrency
    fixed[SEQUENTIAL] = plan.flights.sequential
    fixed[LATENCY] = plan.dram_latency_ps
    fixed[CAPACITY] = plan.tile_buffer_bytes
    fixed[FIRST_DIGITAL], fixed[FIRST_CHANNEL] = ports.first_digital, ports.first_channel
    fixed[CHANNELS] = ports.n_channels // plan.chips
    fixed[RECORD] = record
    fixed[POLICY] = plan.slots.policy
    fixed[N_EXPERTS] = plan.n_experts
    fixed[STEPS] = len(plan.steps)
    fixed[OPEN] = plan.arrival_ps[0] != NONE
    fixed[CYCLE] = plan.transport.timing.cycle_ps
    fixed[MAX_EVENTS] = NONE if max_events is None else max_events
    fixed[POWER_LIMIT] = plan.power_limit_nw
    fixed[TOP_K] = plan.experts.shape[2]
    fixed[LEAST_LOADED] = plan.least_loaded
    return fixed


def _flight_table(plan: Plan) -> Int64:
    flights = plan.flights
    table = np.zeros((flights.count, PARTS + 1 + VISIT_PARTS), dtype=np.int64)
    table[:, FIRST], table[:, SIZE] = flights.first, flights.size
    table[:, STREAM], table[:, NEEDS] = flights.stream, flights.needs
    table[:, KV_READ], table[:, KV_WRITE] = plan.kv_read_ps, plan.kv_write_ps
    table[:, VISIT_HEAD] = table[:, VISIT_TAIL] = table[:, KV_WAIT] = NONE
    return table


def _stream_table(plan: Plan) -> Int64:
    pointer = plan.flights.stream_ptr
    columns = (pointer[:-1], pointer[1:], plan.arrival_ps, np.diff(pointer), plan.digital_of)
    return np.stack(columns, axis=1)


def _step_table(plan: Plan) -> Int64:
    visits = np.array([s.visits for s in plan.steps], dtype=np.int64)
    return np.stack(
        (
            plan.kv_step, plan.attention_of, plan.stream_ps, plan.step_group, plan.step_moe,
            plan.step_shared, plan.step_summed, plan.in_flits, plan.out_flits, visits,
            plan.step_chip, plan.step_digital,
        ),
        axis=1,
    )  # fmt: skip


def _site_table(plan: Plan) -> Int64:
    sites = plan.sites
    table = np.zeros((sites.count, 21), dtype=np.int64)
    table[:, FILL], table[:, INTERVAL] = sites.fill_ps, sites.interval_ps
    table[:, ADC_FILL], table[:, ADC_INTERVAL] = sites.adc_fill_ps, sites.adc_interval_ps
    table[:, VECTOR_BYTES], table[:, POWER] = sites.buffer_bytes, sites.power_nw
    pointers = (sites.server_ptr, sites.tile_ptr, sites.in_ptr, sites.pair_ptr, sites.out_ptr)
    for column, pointer in zip((SERVERS, TILES, INS, PAIRS, OUTS), pointers, strict=True):
        table[:, column], table[:, column + 1] = pointer[:-1], pointer[1:]
    table[:, SITE_EXPERT] = NONE
    table[:, SITE_CHIP] = sites.tiles[sites.tile_ptr[:-1]] // plan.mesh.chip_tiles
    for expert, (low, high) in enumerate(pairwise(plan.expert_ptr.tolist())):
        table[plan.expert_sites[low:high], SITE_EXPERT] = expert
    return table


def _tile_table(plan: Plan) -> tuple[Int64, Int64]:
    """Return the tile table and room for what each tile's buffer will give back."""
    sites, capacity = plan.sites, plan.tile_buffer_bytes
    least = np.full(plan.mesh.n_tiles, capacity, dtype=np.int64)
    of_tile = np.repeat(np.arange(sites.count), np.diff(sites.tile_ptr))
    np.minimum.at(least, sites.tiles, np.minimum(sites.buffer_bytes, capacity)[of_tile])
    room = capacity // np.maximum(least, 1) + 1
    table = np.zeros((plan.mesh.n_tiles, 7), dtype=np.int64)
    table[:, WAIT_HEAD] = table[:, WAIT_TAIL] = NONE
    table[:, RELEASE] = np.cumsum(room) - room
    return table, np.zeros((int(room.sum()), 2), dtype=np.int64)


def _slot_table(plan: Plan) -> Int64:
    slots, n = plan.slots, len(plan.slots.site)
    table = np.zeros((n, 12), dtype=np.int64)
    table[:, SLOT_SITE], table[:, HOLDS] = slots.site, slots.initial
    table[:, SLOT_CHIP] = slots.chip
    table[:, LAST_USE] = np.arange(-n, 0)
    return table


def _expert_table(plan: Plan) -> Int64:
    slots, n = plan.slots, len(plan.expert_units)
    table = np.zeros((n, 13), dtype=np.int64)
    table[:, E_SITES], table[:, E_SITES_END] = plan.expert_ptr[:-1], plan.expert_ptr[1:]
    table[:, E_SLOT] = table[:, E_HEAD] = table[:, E_TAIL] = NONE
    for slot, expert in enumerate(slots.initial.tolist()):
        if expert != NONE:
            table[expert, E_SLOT] = slot
    table[:, E_WRITE], table[:, E_FETCH] = slots.write_ps, slots.fetch_ps
    table[:, E_FLITS], table[:, E_HOT] = slots.fetch_flits, slots.hot
    table[:, E_HOME] = slots.home
    return table
