"""Visits as a trace for Perfetto and chrome://tracing.

Trace event format: complete events (``ph: X``) with ``ts`` and ``dur`` in microseconds,
process = tile, thread = unit; counters (``ph: C``). Open the file at ui.perfetto.dev.
Bytes depend on the visits alone: times are exact decimals of picoseconds, and the gzip
header carries no date.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heapreplace

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimInternalError

__all__ = ["CHIP_VISITS", "RUN_VISITS", "VisitLog", "trace_json", "write_gzip"]

# Visits written: enough to see the pipeline at work, small enough to mail.
CHIP_VISITS = 1_000
RUN_VISITS = 5_000
PS_PER_US = 1_000_000
# Process ids of different chips in one trace must not meet.
PIDS_PER_CHIP = 1_000_000


@dataclass(frozen=True)
class VisitLog:
    """Visits of one phase as arrays, one entry a visit.

    Attributes:
        phase: prefill, or decode_b<batch>.
        unit_names: names of units.
        unit: index into `unit_names`, [visits].
        tile: first tile of the seat that served the visit, [visits].
        start_ps: start of service, [visits].
        end_ps: end of service, [visits].
        vectors: input vectors of the visit, [visits].
    """

    phase: str
    unit_names: tuple[str, ...]
    unit: NDArray[np.int64]
    tile: NDArray[np.int64]
    start_ps: NDArray[np.int64]
    end_ps: NDArray[np.int64]
    vectors: NDArray[np.int64]

    def __post_init__(self) -> None:
        sizes = {len(a) for a in (self.unit, self.tile, self.start_ps, self.end_ps, self.vectors)}
        if len(sizes) != 1 or (self.end_ps < self.start_ps).any():
            message = "a visit log needs arrays of one length and no visit that ends early"
            raise CimsimInternalError(message)


def _us(time_ps: int) -> str:
    """Return picoseconds as an exact decimal number of microseconds."""
    whole, rest = divmod(time_ps, PS_PER_US)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")


def _lanes(start: NDArray[np.int64], end: NDArray[np.int64]) -> list[int]:
    """Spread overlapping visits of one thread over lanes; start is sorted.

    Viewers draw a thread as a stack and drop slices that overlap without nesting.
    """
    free: list[tuple[int, int]] = []  # (free from, lane), a heap
    lanes: list[int] = []
    for begin, stop in zip(start.tolist(), end.tolist(), strict=True):
        if free and free[0][0] <= begin:
            lane = free[0][1]
            heapreplace(free, (stop, lane))
        else:
            lane = len(free)
            free.append((stop, lane))
            free.sort()
        lanes.append(lane)
    return lanes


def _metadata(kind: str, pid: int, tid: int | None, name: str) -> str:
    thread = "" if tid is None else f',"tid":{tid}'
    return f'{{"ph":"M","name":"{kind}","pid":{pid}{thread},"args":{{"name":{json.dumps(name)}}}}}'


def _chip_events(chip: str, log: VisitLog, base: int, limit: int) -> Iterator[str]:
    order = np.lexsort((log.unit, log.tile, log.start_ps))[:limit]
    unit, tile = log.unit[order], log.tile[order]
    start, end, vectors = log.start_ps[order], log.end_ps[order], log.vectors[order]
    for t in np.unique(tile).tolist():
        yield _metadata("process_name", base + t, None, f"{chip} tile {t}")
        on_tile = np.flatnonzero(tile == t)
        tid = 0
        for u in np.unique(unit[on_tile]).tolist():
            visits = on_tile[unit[on_tile] == u]
            lanes = _lanes(start[visits], end[visits])
            name = log.unit_names[u]
            for lane in range(max(lanes) + 1):
                label = name if lane == 0 else f"{name} ({lane + 1})"
                yield _metadata("thread_name", base + t, tid + lane, label)
            for visit, lane in zip(visits.tolist(), lanes, strict=True):
                begin, stop = int(start[visit]), int(end[visit])
                yield (
                    f'{{"ph":"X","name":{json.dumps(name)},"pid":{base + t},"tid":{tid + lane},'
                    f'"ts":{_us(begin)},"dur":{_us(stop - begin)},'
                    f'"args":{{"vectors":{int(vectors[visit])}}}}}'
                )
            tid += max(lanes) + 1
    yield from _busy_counter(chip, base, start, end)


def _busy_counter(
    chip: str, base: int, start: NDArray[np.int64], end: NDArray[np.int64]
) -> Iterator[str]:
    """Counter of units in service over time."""
    pid = base + PIDS_PER_CHIP - 1
    yield _metadata("process_name", pid, None, f"{chip} activity")
    times = np.concatenate([start, end])
    change = np.concatenate([np.ones(len(start), np.int64), -np.ones(len(end), np.int64)])
    moments, index = np.unique(times, return_inverse=True)
    step = np.zeros(len(moments), dtype=np.int64)
    np.add.at(step, index, change)
    for moment, busy in zip(moments.tolist(), np.cumsum(step).tolist(), strict=True):
        yield (
            f'{{"ph":"C","name":"units in service","pid":{pid},"ts":{_us(moment)},'
            f'"args":{{"units":{busy}}}}}'
        )


def trace_json(chips: Sequence[tuple[str, VisitLog]], limit: int = RUN_VISITS) -> str:
    """Return the visits of chips as trace JSON.

    Args:
        chips: name and visits of every chip.
        limit: visits written in all, the first of every chip in equal parts; the trace
            says how many were left out.
    """
    each = max(1, limit // max(1, len(chips)))
    total = sum(len(log.unit) for _, log in chips)
    kept = sum(min(each, len(log.unit)) for _, log in chips)
    events = [
        event
        for i, (chip, log) in enumerate(chips)
        for event in _chip_events(chip, log, i * PIDS_PER_CHIP, each)
    ]
    about = {
        "program": "cimsim",
        "phases": {chip: log.phase for chip, log in chips},
        "visits": total,
        "visits_written": kept,
        "note": "all visits"
        if kept == total
        else f"the first {each} visits of each chip; {total - kept} of {total} left out",
    }
    body = ",\n".join(events)
    return (
        f'{{"displayTimeUnit":"ns","otherData":{json.dumps(about)},"traceEvents":[\n{body}\n]}}\n'
    )


def write_gzip(text: str) -> bytes:
    """Return text gzipped with the same bytes every time."""
    data = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=data, mtime=0, compresslevel=9) as file:
        file.write(text.encode("utf-8"))
    return data.getvalue()
