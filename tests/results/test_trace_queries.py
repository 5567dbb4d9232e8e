"""A run's trace, read strictly and queried, gives back what the engine measured."""

from __future__ import annotations

import numpy as np
import pytest
from trace_reader import read_trace

from cimsim.engine import simulate
from cimsim.results import VisitLog, trace_json
from tests.engine.chips import make_system


def trace_of_a_run() -> tuple[str, VisitLog]:
    system = make_system()
    result = simulate(
        system.config, system.mesh, system.placement, system.program, system.cost, system.trace,
        phase="decode", batch=4, engine="reference",
    )  # fmt: skip
    log = result.visits
    tiles = np.arange(len(log.site_names)) % system.mesh.n_tiles
    visits = VisitLog(
        "decode_b4", log.site_names, log.site, tiles[log.site], log.start_ps, log.end_ps,
        log.vectors,
    )  # fmt: skip
    return trace_json([("chip", visits)], limit=10**6), visits


def test_queries_of_a_trace_give_what_the_engine_measured() -> None:
    text, log = trace_of_a_run()
    tables = read_trace(text)
    count, vectors, busy = tables.execute(
        "select count(*), sum(vectors), sum(dur_ps) from slice"
    ).fetchone()
    assert count == len(log.unit)
    assert vectors == log.vectors.sum()
    assert busy == (log.end_ps - log.start_ps).sum()
    by_unit = dict(tables.execute("select name, sum(dur_ps) from slice group by name"))
    for unit, name in enumerate(log.unit_names):
        mine = log.unit == unit
        if mine.any():
            assert by_unit[name] == (log.end_ps[mine] - log.start_ps[mine]).sum()
    first, last = tables.execute("select min(ts_ps), max(ts_ps + dur_ps) from slice").fetchone()
    assert (first, last) == (log.start_ps.min(), log.end_ps.max())


def test_the_counter_of_a_trace_is_the_slices_in_progress() -> None:
    tables = read_trace(trace_of_a_run()[0])
    for time, units in tables.execute("select ts_ps, value from counter").fetchall():
        running = tables.execute(
            "select count(*) from slice where ts_ps <= ? and ts_ps + dur_ps > ?", (time, time)
        ).fetchone()[0]
        assert units == running


@pytest.mark.parametrize(
    "bad",
    [
        '{"displayTimeUnit":"ns","traceEvents":[{"ph":"X","name":"a","pid":1,"tid":1,"ts":NaN}]}',
        '{"displayTimeUnit":"ns","traceEvents":[{"ph":"X","name":"a","pid":1,"tid":1,"ts":0}]}',
        '{"displayTimeUnit":"ns","displayTimeUnit":"ns","traceEvents":[]}',
        '{"displayTimeUnit":"ns","traceEvents":[{"ph":"Q","name":"a","pid":1}]}',
    ],
)
def test_the_reader_refuses_what_a_viewer_would_drop(bad: str) -> None:
    with pytest.raises((AssertionError, ValueError, KeyError)):
        read_trace(bad)
