"""What an engine hands back before it is turned into results: plain arrays.

Two engines agree when all of these arrays are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MEMORY_USES", "PARTS", "VISIT_FIELDS", "VISIT_PARTS", "RawRun", "within_run"]

Int64 = NDArray[np.int64]

PARTS = ("queue", "compute", "noc", "dram", "write", "adc", "digital")
"""Parts of a latency, in the order of the columns of `RawRun.parts_ps`: `adc` is what
conversions add to the time of visits, `compute` is the rest of it."""
QUEUE, COMPUTE, NOC, DRAM, WRITE, ADC, DIGITAL = range(7)
VISIT_PARTS = DIGITAL
"""Parts that visits have: all but the last."""

VISIT_FIELDS = (
    "flight", "step", "site", "expert", "vectors", "arrive_ps", "start_ps", "end_ps", "taken_ps",
)  # fmt: skip
"""`end_ps` is when the last result is ready, `taken_ps` when the last vector is taken in and
the site's ADC groups are free again."""
JOB_FIELDS = ("digital", "flight", "step", "start_ps", "end_ps")
LOAD_FIELDS = ("slot", "expert", "start_ps", "fetched_ps", "arrived_ps", "write_ps", "end_ps")
MEMORY_FIELDS = ("chip", "use", "owner", "step", "start_ps", "end_ps")
"""`owner` is a flight, or the id of the expert that is fetched; `step` is then -1."""
MEMORY_USES = ("operands", "kv_write", "expert")
OPERANDS, KV_NEW, EXPERT = range(3)
"""Values of `use`: operands of a job (streamed weights, embeddings, keys and values, in this
order), its new keys and values, weights of an expert for a slot."""


@dataclass(frozen=True)
class RawRun:
    """Outcome of one run.

    Attributes:
        enter_ps: [flights], when each flight entered (or its stream arrived).
        done_ps: [flights], when it was complete.
        parts_ps: [flights, 7], the latency by part.
        server_busy_ps: [servers], ADC groups serving visits.
        server_write_ps: [servers], ADC groups whose crossbars were written.
        digital_busy_ps: [digital units].
        dram_busy_ps: [chips], time that every memory channel of a chip was busy.
        site_vectors, site_visits: [sites].
        expert_vectors: [experts], by id.
        loads: [experts], how often each was loaded.
        slot_loads: [slots], how often each was loaded.
        hits, misses: expert visits whose expert was resident at once, or not.
        requests: expert ids in slots in the order in which visits asked for them.
        stall_ps: time that visits waited for their expert, summed.
        power_stall_ps: time that visits waited for the power limit, summed.
        link_used: [links, 4], columns of `PacketState.used`.
        visits: [visits, 9], columns `VISIT_FIELDS`; empty if not recorded.
        jobs: [jobs, 5], columns `JOB_FIELDS`; empty if not recorded.
        writes: [loads, 7], columns `LOAD_FIELDS`; empty if not recorded.
        memory: [requests, 6], what memory channels were reserved for, columns
            `MEMORY_FIELDS`; empty if not recorded.
        peak_buffer_bytes: [tiles], most bytes ever held.
        tier_switches: [tiles], how often each made another of its tiers the active one.
        events: events processed.
        end_ps: time of the last event that mattered.
    """

    enter_ps: Int64
    done_ps: Int64
    parts_ps: Int64
    server_busy_ps: Int64
    server_write_ps: Int64
    digital_busy_ps: Int64
    dram_busy_ps: Int64
    site_vectors: Int64
    site_visits: Int64
    expert_vectors: Int64
    loads: Int64
    slot_loads: Int64
    hits: int
    misses: int
    requests: Int64
    stall_ps: int
    power_stall_ps: int
    link_used: Int64
    visits: Int64
    jobs: Int64
    writes: Int64
    memory: Int64
    peak_buffer_bytes: Int64
    tier_switches: Int64
    events: int
    end_ps: int


def within_run(busy_ps: Int64, free_ps: Int64, end_ps: int) -> Int64:
    """Return busy time without what is reserved beyond the end of a run.

    Prefetched weights may still be fetched or written when the last token is complete. What
    lies beyond the end follows without a gap, because it was reserved before the end.

    Args:
        busy_ps: busy time of every server.
        free_ps: when each is free again.
        end_ps: end of the run.
    """
    return busy_ps - np.maximum(free_ps - end_ps, 0)
