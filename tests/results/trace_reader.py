"""A strict reader of trace event JSON into SQL tables, as a trace processor has them.

Perfetto's own trace processor is a binary that its Python package fetches from the network, so
tests cannot count on it. This reader follows the documented Trace Event Format: it refuses what
that tool would drop in silence (slices of a thread that overlap without nesting, events without
the fields of their phase, times that are not numbers) and offers the tables `slice`, `thread`,
`process` and `counter` for queries.
"""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal
from typing import Any

PS_PER_US = 1_000_000
FIELDS = {
    "X": {"ph", "name", "pid", "tid", "ts", "dur", "args"},
    "C": {"ph", "name", "pid", "ts", "args"},
    "M": {"ph", "name", "pid", "args"},
}


def _refuse(word: str) -> Any:
    raise ValueError(word)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), f"a key occurs twice: {names}"
    return dict(pairs)


def _ps(value: object) -> int:
    assert isinstance(value, (int, Decimal)), value
    time = Decimal(value) * PS_PER_US
    assert time >= 0
    assert time == int(time), f"{value} us is not a whole number of picoseconds"
    return int(time)


def read_trace(text: str) -> sqlite3.Connection:
    """Return the tables of a trace; assertions name what is wrong with it."""
    trace = json.loads(text, parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_unique)
    assert set(trace) <= {"traceEvents", "displayTimeUnit", "otherData"}
    assert trace["displayTimeUnit"] in {"ns", "ms"}
    tables = sqlite3.connect(":memory:")
    tables.executescript(
        "create table process (pid integer primary key, name text);"
        "create table thread (pid, tid, name text, primary key (pid, tid));"
        "create table slice (pid, tid, name text, ts_ps integer, dur_ps integer, vectors integer);"
        "create table counter (pid, name text, ts_ps integer, value integer);"
    )
    for event in trace["traceEvents"]:
        phase = event["ph"]
        assert phase in FIELDS, f"phase {phase}"
        assert set(event) - {"tid"} == FIELDS[phase] - {"tid"}, event
        assert isinstance(event["pid"], int)
        if phase == "M":
            place = (event["pid"], event["args"]["name"])
            if event["name"] == "process_name":
                tables.execute("insert into process values (?, ?)", place)
            else:
                assert event["name"] == "thread_name"
                row = (event["pid"], event["tid"], event["args"]["name"])
                tables.execute("insert into thread values (?, ?, ?)", row)
        elif phase == "X":
            times = (_ps(event["ts"]), _ps(event["dur"]))
            row = (event["pid"], event["tid"], event["name"], *times, event["args"]["vectors"])
            tables.execute("insert into slice values (?, ?, ?, ?, ?, ?)", row)
        else:
            for value in event["args"].values():
                assert isinstance(value, int)
                row = (event["pid"], event["name"], _ps(event["ts"]), value)
                tables.execute("insert into counter values (?, ?, ?, ?)", row)
    _check_tracks(tables)
    return tables


def _check_tracks(tables: sqlite3.Connection) -> None:
    """Every track is named, and its slices follow each other or nest."""
    nameless = tables.execute(
        "select count(*) from slice left join thread using (pid, tid) "
        "left join process using (pid) where thread.name is null or process.name is null"
    ).fetchone()[0]
    assert nameless == 0, f"{nameless} slices on tracks without a name"
    ends: dict[tuple[int, int], list[int]] = {}
    rows = tables.execute("select pid, tid, ts_ps, dur_ps from slice order by ts_ps, dur_ps desc")
    for pid, tid, start, length in rows:
        stack = ends.setdefault((pid, tid), [])
        while stack and stack[-1] <= start:
            stack.pop()
        assert not stack or start + length <= stack[-1], "slices overlap without nesting"
        stack.append(start + length)
