"""Traces: exact times, valid JSON, lanes that do not overlap, a limit that is said."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.errors import CimsimInternalError
from cimsim.results import VisitLog, trace_json, write_gzip


def _log(visits: list[tuple[int, int, int, int]]) -> VisitLog:
    unit, tile, start, end = np.array(visits, dtype=np.int64).reshape(-1, 4).T
    return VisitLog(
        "decode_b8", ("0.attention", 'odd "name"'), unit, tile, start, end, np.ones_like(unit)
    )


def test_visit_becomes_an_exact_event() -> None:
    text = trace_json([("isaac", _log([(1, 7, 1_234_567, 3_234_567)]))])
    assert '"ts":1.234567,"dur":2,' in text
    (event,) = [e for e in json.loads(text)["traceEvents"] if e["ph"] == "X"]
    assert (event["pid"], event["name"], event["args"]) == (7, 'odd "name"', {"vectors": 1})


def test_counter_follows_units_in_service() -> None:
    log = _log([(0, 0, 0, 2_000_000), (1, 1, 1_000_000, 3_000_000)])
    events = json.loads(trace_json([("isaac", log)]))["traceEvents"]
    counter = [(e["ts"], e["args"]["units"]) for e in events if e["ph"] == "C"]
    assert counter == [(0, 1), (1, 2), (2, 1), (3, 0)]


def test_limit_is_said_in_the_trace() -> None:
    log = _log([(0, 0, i * 10, i * 10 + 5) for i in range(100)])
    cut = json.loads(trace_json([("a", log), ("b", log)], limit=20))
    about = cut["otherData"]
    assert about["visits"] == 200
    assert about["visits_written"] == 20
    assert about["note"] == "the first 10 visits of each chip; 180 of 200 left out"
    assert sum(e["ph"] == "X" for e in cut["traceEvents"]) == 20
    whole = json.loads(trace_json([("a", log)], limit=100))
    assert whole["otherData"]["note"] == "all visits"


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 50), st.integers(0, 20)),
        min_size=1,
        max_size=40,
    )
)
def test_events_of_a_thread_never_overlap(visits: list[tuple[int, int, int, int]]) -> None:
    log = _log([(u, t, s, s + d) for u, t, s, d in visits])
    events = json.loads(trace_json([("a", log)]))["traceEvents"]
    spans: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for e in events:
        if e["ph"] == "X":
            spans.setdefault((e["pid"], e["tid"]), []).append((e["ts"], e["ts"] + e["dur"]))
    assert sum(len(s) for s in spans.values()) == len(visits)
    for thread in spans.values():
        for (_, end), (start, _) in pairwise(sorted(thread)):
            assert start >= end - 1e-12


def test_bytes_do_not_depend_on_the_order_of_the_log_or_the_date() -> None:
    visits = [(0, 1, 5, 9), (1, 0, 5, 7), (0, 0, 2, 4)]
    a = write_gzip(trace_json([("a", _log(visits))]))
    b = write_gzip(trace_json([("a", _log(visits[::-1]))]))
    assert a == b
    assert a[4:8] == b"\0\0\0\0"  # no modification time
    assert json.loads(gzip.decompress(a))["otherData"]["program"] == "cimsim"


def test_empty_log_is_a_valid_trace() -> None:
    trace = json.loads(trace_json([("a", _log([]))]))
    assert trace["otherData"]["visits"] == 0


def test_log_that_ends_early_is_refused() -> None:
    with pytest.raises(CimsimInternalError, match="ends early"):
        _log([(0, 0, 5, 4)])
