"""Traces: exact times, valid JSON, named tracks in order, a limit that is said."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest
from trace_reader import read_trace

from cimsim.errors import CimsimInternalError
from cimsim.results import KINDS, Activity, Counter, Track, trace_json, write_gzip

VISIT, JOB = KINDS.index("visit"), KINDS.index("job")


def _activity(slices: list[tuple[int, int, int, int]], chips: int = 1) -> Activity:
    """Slices of one visit unit: track, name, start, end; tracks alternate between the chips."""
    rows = [(t, n, VISIT, s, e, 3, -1, 1, 0) for t, n, s, e in sorted(slices, key=lambda x: x[2])]
    end = max([e for *_, e in slices], default=1)
    return Activity(
        phase="decode_b8",
        chips=chips,
        tracks=tuple(Track(i % chips, f"tile {i}") for i in range(4)),
        names=("0.attention", 'odd "name"'),
        slices=np.array(rows, dtype=np.int64).reshape(-1, 9),
        counters=(),
        total=tuple(np.bincount([r[2] for r in rows], minlength=len(KINDS)).tolist()),
        until_ps=end,
        end_ps=end,
    )


def test_a_slice_becomes_an_exact_event() -> None:
    text = trace_json([("isaac", _activity([(2, 1, 1_234_567, 3_234_567)]))])
    assert '"ts":1.234567,"dur":2,' in text
    (event,) = [e for e in json.loads(text)["traceEvents"] if e["ph"] == "X"]
    assert (event["name"], event["cat"]) == ('odd "name"', "visit")
    assert event["args"] == {"kind": "visit", "layer": 3, "tokens": 1, "flight": 0}


def test_chips_are_processes_and_resources_are_threads_in_order() -> None:
    two = _activity([(0, 0, 0, 5), (1, 0, 0, 5), (3, 0, 7, 9)], chips=2)
    tables = read_trace(trace_json([("isaac", two), ("raella", _activity([(2, 0, 0, 5)]))]))
    processes = tables.execute("select name from process order by sort").fetchall()
    assert processes == [("isaac chip 0",), ("isaac chip 1",), ("raella",)]
    threads = tables.execute(
        "select process.name, thread.name from thread join process using (pid) "
        "order by process.sort, thread.sort"
    ).fetchall()
    assert threads == [
        ("isaac chip 0", "tile 0"),
        ("isaac chip 1", "tile 1"),
        ("isaac chip 1", "tile 3"),
        ("raella", "tile 2"),
    ]


def test_a_counter_is_shown_on_its_chip() -> None:
    counter = Counter(1, "experts", "resident", np.array([0, 4_000_000]), np.array([3, 2]))
    activity = replace(_activity([(0, 0, 0, 9_000_000)], chips=2), counters=(counter,))
    tables = read_trace(trace_json([("isaac", activity)]))
    rows = tables.execute(
        "select process.name, counter.name, series, ts_ps, value from counter "
        "join process using (pid)"
    ).fetchall()
    assert rows == [
        ("isaac chip 1", "experts", "resident", 0, 3),
        ("isaac chip 1", "experts", "resident", 4_000_000, 2),
    ]


def test_what_is_left_out_is_named_in_the_trace() -> None:
    activity = _activity([(0, 0, i * 1000, i * 1000 + 500) for i in range(100)])
    cut = json.loads(trace_json([("a", activity), ("b", activity)], limit=20))
    for name in ("a", "b"):
        about = cut["otherData"]["chips"][name]
        assert about["slices_written"]["visit"] == 10
        assert about["slices_left_out"]["visit"] == 90
        assert about["window"] == "the first 0.01 of 0.0995 us: what starts then"
        assert "links" in about["not_recorded"]
    assert sum(e["ph"] == "X" for e in cut["traceEvents"]) == 20
    whole = json.loads(trace_json([("a", activity)], limit=100))
    assert whole["otherData"]["chips"]["a"]["window"] == "the whole phase"
    assert set(whole["otherData"]["chips"]["a"]["slices_left_out"].values()) == {0}


def test_what_starts_together_is_kept_or_left_out_together() -> None:
    activity = _activity([(0, 0, 0, 5), *[(t, 0, 10, 15) for t in range(4)]])
    assert [len(activity.first(n).slices) for n in (5, 4, 2, 1)] == [5, 1, 1, 1]


def test_bytes_do_not_depend_on_the_date() -> None:
    data = write_gzip(trace_json([("a", _activity([(0, 1, 5, 9), (1, 0, 5, 7)]))]))
    assert data[4:8] == b"\0\0\0\0"  # no modification time
    assert json.loads(gzip.decompress(data))["otherData"]["program"] == "cimsim"


def test_an_activity_without_slices_is_a_valid_trace() -> None:
    tables = read_trace(trace_json([("a", _activity([]))]))
    assert tables.execute("select count(*) from slice").fetchone() == (0,)


@pytest.mark.parametrize("change", [(3, 4), (0, 99)])
def test_slices_out_of_their_time_are_refused(change: tuple[int, int]) -> None:
    activity = _activity([(0, 0, 2, 3), (1, 0, 2, 5)])
    slices = activity.slices.copy()
    slices[0, 3:5] = change  # after its successor; or before the start, as far as it may
    if change == (0, 99):
        slices[0, 4] = -1
    with pytest.raises(CimsimInternalError, match="must come by start"):
        replace(activity, slices=slices)
