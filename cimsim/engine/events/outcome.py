"""What the tables say when a run is over, and who waits for what when it cannot go on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.events.stall import Waiting
from cimsim.engine.events.tables import Tables
from cimsim.engine.network import settle
from cimsim.engine.plan import Plan
from cimsim.engine.raw import RawRun, within_run

__all__ = ["outcome", "scalar", "visit_name", "waiting"]

NONE = -1


def scalar(x: Tables, name: str) -> int:
    """Return one of the scalars of a run."""
    return int(x.now[name][0])


def outcome(x: Tables, link_used: NDArray[np.int64] | None = None) -> RawRun:
    """Return the outcome of a run.

    Args:
        x: the tables of a run that is over.
        link_used: what links carried, where the tables do not say it.
    """

    def column(table: Any, name: str) -> Any:
        return table[name].copy()

    def log(table: Any, rows: str) -> Any:
        kept = table[: scalar(x, rows)]
        return kept.view(np.int64).reshape(len(kept), len(kept.dtype)).copy()

    end = scalar(x, "stop_ps")
    server, chip = x.server, x.chip
    return RawRun(
        enter_ps=column(x.flight, "enter_ps"),
        done_ps=column(x.flight, "done_ps"),
        parts_ps=x.flight_parts.copy(),
        server_busy_ps=column(server, "busy_ps"),
        server_write_ps=within_run(server["written_ps"], server["free_ps"], end),
        digital_busy_ps=column(x.digital, "busy_ps"),
        dram_busy_ps=within_run(chip["memory_busy_ps"], chip["memory_free_ps"], end),
        site_vectors=column(x.site, "vectors"),
        site_visits=column(x.site, "visits"),
        expert_vectors=column(x.expert, "vectors"),
        loads=column(x.expert, "loads"),
        slot_loads=column(x.slot, "loads"),
        hits=scalar(x, "hits"),
        misses=scalar(x, "misses"),
        requests=x.requests[: scalar(x, "requested")].copy(),
        stall_ps=scalar(x, "stall_ps"),
        power_stall_ps=scalar(x, "power_stall_ps"),
        link_used=settle(x.net) if link_used is None else link_used,
        visits=log(x.visit_log, "visit_rows"),
        jobs=log(x.job_log, "job_rows"),
        writes=log(x.load_log, "load_rows"),
        memory=log(x.memory_log, "memory_rows"),
        peak_buffer_bytes=column(x.tile, "peak_bytes"),
        tier_switches=column(x.tile, "tier_switches"),
        events=scalar(x, "events"),
        end_ps=end,
    )


def waiting(plan: Plan, x: Tables) -> list[Waiting]:
    """Return everything that waits, for the message of a stall."""
    names = [s.name for s in plan.steps]
    found: list[Waiting] = []
    for flight in np.flatnonzero(x.flight["kv_wait"] != NONE).tolist():
        row = x.flight[flight]
        found.append(
            Waiting(
                f"flight {flight} ({names[row['step']]})",
                f"keys and values of {row['needs']} flights of stream {row['stream']} in layer "
                f"{row['kv_wait']}",
            )
        )
    for tile, head in enumerate(x.tile["head"].tolist()):
        found += _waiting(x, head, f"room in the buffer of tile {tile}")
    for expert, head in enumerate(x.expert["head"].tolist()):
        found += _waiting(x, head, f"a slot for expert {plan.copies.expert_units[expert]}")
    first = scalar(x, "queue_first")
    outside = x.stream_queue[first : first + scalar(x, "queued")].tolist()
    if plan.arrival_ps[0] == NONE:
        outside += range(scalar(x, "next_stream"), len(plan.arrival_ps))
    found += [Waiting(f"stream {s}", "a free place in flight") for s in outside]
    return found


def visit_name(x: Tables, v: int) -> str:
    """Return how messages call a visit."""
    return f"a visit of {x.visit[v]['size']} tokens of flight {x.visit[v]['flight']}"


def _waiting(x: Tables, v: int, what: str) -> Iterator[Waiting]:
    """Yield the visits of a queue, of which `v` is the first."""
    while v != NONE:
        yield Waiting(visit_name(x, v), what)
        v = int(x.visit[v]["wait_next"])
