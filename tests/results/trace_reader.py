"""A strict reader of trace event JSON into SQL tables, as a trace processor has them.

Perfetto's own trace processor is a binary that its Python package fetches from the network, so
tests cannot count on it (`test_trace_processor` takes it where it is there). This reader follows
the documented Trace Event Format: it refuses what that tool would drop in silence (slices of a
thread that overlap, events without the fields of their phase, times that are not numbers) and
offers the tables `slice`, `thread`, `process` and `counter` for queries.
"""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal
from typing import Any

PS_PER_US = 1_000_000
FIELDS = {
    "X": {"ph", "name", "cat", "pid", "tid", "ts", "dur", "args"},
    "C": {"ph", "name", "pid", "ts", "args"},
    "M": {"ph", "name", "pid", "args"},
}
ARGS = ("layer", "expert", "tokens", "flight")


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
        "create table process (pid integer primary key, name text, sort integer);"
        # Viewers may take a thread id for one thread whatever its process.
        "create table thread (tid integer primary key, pid, name text, sort integer);"
        "create table slice (pid, tid, name text, category text, ts_ps integer, dur_ps integer,"
        " layer integer, expert integer, tokens integer, flight integer);"
        "create table counter (pid, name text, series text, ts_ps integer, value integer);"
    )
    for event in trace["traceEvents"]:
        phase = event["ph"]
        assert phase in FIELDS, f"phase {phase}"
        assert set(event) - {"tid"} == FIELDS[phase] - {"tid"}, event
        assert isinstance(event["pid"], int)
        assert event["pid"] > 0
        if phase == "M":
            _read_metadata(tables, event)
        elif phase == "X":
            _read_slice(tables, event)
        else:
            for series, value in event["args"].items():
                assert isinstance(value, int)
                row = (event["pid"], event["name"], series, _ps(event["ts"]), value)
                tables.execute("insert into counter values (?, ?, ?, ?, ?)", row)
    _check_tracks(tables)
    return tables


def _read_metadata(tables: sqlite3.Connection, event: dict[str, Any]) -> None:
    what, _, column = event["name"].partition("_")
    if column == "name":
        row = (event["pid"], event["args"]["name"])
        if what == "thread":
            row = (event["tid"], *row)
        marks = ", ".join("?" for _ in row)
        tables.execute(f"insert into {what} values ({marks}, null)", row)  # noqa: S608
        return
    assert event["name"] in {"process_sort_index", "thread_sort_index"}
    key = "pid" if what == "process" else "tid"
    values = (event["args"]["sort_index"], event[key])
    done = tables.execute(f"update {what} set sort = ? where {key} = ?", values)  # noqa: S608
    assert done.rowcount == 1, "sorted before it was named"


def _read_slice(tables: sqlite3.Connection, event: dict[str, Any]) -> None:
    args = event["args"]
    assert set(args) <= {"kind", *ARGS}
    assert args["kind"] == event["cat"]
    times = (_ps(event["ts"]), _ps(event["dur"]))
    row = (event["pid"], event["tid"], event["name"], event["cat"], *times, *map(args.get, ARGS))
    tables.execute("insert into slice values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def _check_tracks(tables: sqlite3.Connection) -> None:
    """Every track has a name, unique in its process, and a place; slices follow each other."""
    nameless = tables.execute(
        "select count(*) from slice left join thread using (pid, tid) "
        "left join process using (pid) where thread.name is null or process.name is null "
        "or thread.sort is null or process.sort is null"
    ).fetchone()[0]
    assert nameless == 0, f"{nameless} slices on tracks without a name or place"
    twice = tables.execute("select name from thread group by pid, name having count(*) > 1")
    assert twice.fetchall() == []
    ends: dict[int, int] = {}
    rows = tables.execute("select tid, ts_ps, dur_ps from slice order by ts_ps, dur_ps")
    for tid, start, length in rows:
        assert start >= ends.get(tid, 0), f"slices of thread {tid} overlap at {start} ps"
        ends[tid] = start + length
