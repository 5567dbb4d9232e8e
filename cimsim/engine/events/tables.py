"""Tables of a run: records that kernels change in place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.network import Network

__all__ = ["Records", "Tables"]

Int64 = NDArray[np.int64]
Records = NDArray[np.void]


class Tables(NamedTuple):
    """Tables of one run; the fields of records are explained in `records`.

    Attributes:
        now, fixed: [1], what there is once.
        flight, stream, step, site, server, digital, chip, tile, slot, expert: one record each.
        flight_parts: [flights, 7], latency so far by part (`raw.PARTS`).
        job_ps, attention_ps, embed_ps: times of jobs and of reading embeddings.
        published, prefix: keys and values, [flights, layers] and [streams, layers].
        servers, tiles, ins, pairs, outs: ranges of the sites, flattened.
        tier, tier_turns: beside `tiles`: the tier that a visit begins with there, and switches of
            tiers inside it; empty where tiles have one tier.
        group_ptr, group_sites, expert_sites: sites of copies.
        token_key, experts: the routing.
        releases: per tile a heap of what will be given back.
        drawing: [chips, ..], visits that draw power, in order of their end.
        visit: visits, those that are over in a list from `now.pool_free`.
        visit_parts: [.., 6], latency of visits so far by part.
        masks: [.., words], tokens of visits.
        heap: events.
        stream_queue: streams that wait.
        slot_queue: [chips, ..], experts that wait for a slot of a chip, a ring.
        followed: [layers - 1, experts, experts], routing history of the prefetcher.
        scores, likely: [experts of a layer] and [k], work space of the prefetcher.
        visit_log, job_log, load_log, memory_log, requests: logs.
        scratch: [sites + experts], visit of the current stage by target.
        scratch_tiles: tiles to whose queues visits moved.
        outbox: visits whose inputs go out, each group that goes together ending in -1.
        ports, port_masks, times: arguments of the transport kernels.
        net: the network.
    """

    now: Records
    fixed: Records
    flight: Records
    flight_parts: Int64
    stream: Records
    step: Records
    site: Records
    server: Records
    digital: Records
    chip: Records
    tile: Records
    slot: Records
    expert: Records
    job_ps: Int64
    attention_ps: Int64
    embed_ps: Int64
    published: NDArray[np.uint8]
    prefix: Int64
    servers: Int64
    tiles: Int64
    tier: Int64
    tier_turns: Int64
    ins: Int64
    pairs: Records
    outs: Records
    group_ptr: Int64
    group_sites: Int64
    expert_sites: Int64
    token_key: Int64
    experts: NDArray[np.int16]
    releases: Records
    drawing: Records
    visit: Records
    visit_parts: Int64
    masks: NDArray[np.uint64]
    heap: Records
    stream_queue: Int64
    slot_queue: Int64
    followed: Int64
    scores: Int64
    likely: Int64
    visit_log: Records
    job_log: Records
    load_log: Records
    memory_log: Records
    requests: Int64
    scratch: Int64
    scratch_tiles: Int64
    outbox: Int64
    ports: Int64
    port_masks: NDArray[np.uint64]
    times: Int64
    net: Network
