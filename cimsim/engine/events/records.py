"""Records of the tables: what is known of a flight, a visit, a site, a slot ... during a run.

Every field is an int64. An index is -1 where there is nothing; a visit waits in at most one
queue at a time, which `wait_next` links.
"""

from __future__ import annotations

import numpy as np

from cimsim.engine.raw import JOB_FIELDS, LOAD_FIELDS, MEMORY_FIELDS, VISIT_FIELDS

__all__ = [
    "CHIP", "CONSTANTS", "DIGITAL_UNIT", "DRAW", "EVENT", "EXPERT_STATE", "FLIGHT", "JOB_ROW",
    "LOAD_ROW", "MEMORY_ROW", "OUTPUT", "PAIR", "RELEASE", "SCALARS", "SERVER", "SITE", "SLOT",
    "STEP", "STREAM", "TILE", "VISIT_ROW", "VISIT_STATE",
]  # fmt: skip


def _record(*fields: str) -> np.dtype[np.void]:
    return np.dtype([(field, np.int64) for field in fields])


FLIGHT = _record(
    "first", "size", "stream", "needs", "kv_read_ps", "kv_write_ps", "enter_ps", "done_ps", "step",
    "pending", "head", "tail", "kv_wait", "kv_since_ps",
)  # fmt: skip
"""Tokens that travel together: `pending` visits of its stage have not begun; its visits are a
list from `head` to `tail`; it waits for keys and values of layer `kv_wait` since `kv_since_ps`."""

STREAM = _record("first", "end", "arrival_ps", "left", "digital")
"""Flights `first` to `end`, of which `left` are not complete; `digital` is its unit of a chip."""

STEP = _record(
    "kv", "attention", "stream_ps", "group", "moe", "shared", "summed", "in_flits", "out_flits",
    "visits", "chip", "digital",
)  # fmt: skip
"""A job and the analog stage behind it; fields are those of `Plan.step_*`."""

SITE = _record(
    "fill_ps", "interval_ps", "adc_fill_ps", "adc_interval_ps", "vector_bytes", "power_nw",
    "servers", "servers_end", "tiles", "tiles_end", "ins", "ins_end", "pairs", "pairs_end", "outs",
    "outs_end", "vectors", "visits", "expert", "sent", "chip",
)  # fmt: skip
"""Where visits are served: ranges of the flat tables (`servers` to `servers_end` ...), vectors
and visits so far, and vectors on their way to it (`sent`)."""

SERVER = _record("free_ps", "busy_ps", "written_ps")
"""ADC groups that work in lockstep: when free, and time spent on visits and on writes."""

DIGITAL_UNIT = _record("free_ps", "busy_ps")
"""A digital unit."""

CHIP = _record("memory_free_ps", "memory_busy_ps", "drawing", "queue_first", "queued")
"""Memory channels of a chip, its visits that draw power, and its queue for slots (a ring)."""

TILE = _record(
    "held_bytes", "peak_bytes", "armed", "head", "tail", "release", "releases", "tier",
    "tier_from_ps", "tier_free_ps", "tier_switches",
)  # fmt: skip
"""A tile's buffer: the queue before it, and where its heap of releases is. Its active tier, from
when on it is, until when visits read it, and how often it changed."""

RELEASE = _record("time_ps", "bytes")
"""Room of a buffer that will be given back."""

DRAW = _record("end_ps", "power_nw")
"""Power that a visit draws until its last vector is in."""

SLOT = _record(
    "site", "chip", "holds", "pins", "loading", "last_use", "loads", "start_ps", "fetched_ps",
    "arrived_ps", "write_ps", "end_ps",
)  # fmt: skip
"""Crossbars for one expert at a time: visits on their way to it (`pins`), whether it is being
loaded, and the phases of its last load."""

EXPERT_STATE = _record(
    "sites", "sites_end", "slot", "vectors", "loads", "head", "tail", "uses", "write_ps",
    "fetch_ps", "flits", "hot", "home",
)  # fmt: skip
"""An expert: its fixed sites or its slot, and the visits that wait for it to be loaded."""

VISIT_STATE = _record(
    "flight", "site", "expert", "size", "asked_ps", "tail_ps", "start_ps", "first_ps", "finish_ps",
    "next", "wait_next",
)  # fmt: skip
"""A group of tokens that one site serves: `expert` if it lives in slots (its site is then known
when it is resident); when it began to wait (`asked_ps`), its last input arrives (`tail_ps`), it
starts, and its first and its last result are ready. `next` is the next visit of the flight."""

PAIR = _record("round", "source", "target", "flits")
"""A transfer between tiles inside a visit, a vector."""

OUTPUT = _record("tile", "flits")
"""Where results leave a site."""

EVENT = _record("time_ps", "sequence", "what")
"""Something that will happen: `what` is argument x `KINDS` + kind."""

SCALARS = _record(
    "time_ps", "sequence", "heaped", "events", "failed", "left", "active", "next_stream",
    "queue_first", "queued", "clock", "hits", "misses", "requested", "stall_ps", "power_stall_ps",
    "pool_free", "outgoing", "moved", "visit_rows", "job_rows", "load_rows", "memory_rows",
    "stop_ps", "stop_sequence",
)  # fmt: skip
"""What there is once: the clock, the heap, streams in flight and in the queue, rows of logs."""

CONSTANTS = _record(
    "concurrency", "sequential", "open", "latency_ps", "capacity_bytes", "first_digital",
    "first_channel", "channels", "record", "policy", "n_experts", "top_k", "steps", "cycle_ps",
    "most_events", "power_limit_nw", "least_loaded", "flit", "tiers", "tier_switch_ps",
)  # fmt: skip
"""What never changes; `flit` says that transfers happen elsewhere (`events.flit`)."""

VISIT_ROW, JOB_ROW, LOAD_ROW, MEMORY_ROW = (
    _record(*fields) for fields in (VISIT_FIELDS, JOB_FIELDS, LOAD_FIELDS, MEMORY_FIELDS)
)
"""Rows of the logs (`RawRun`)."""
