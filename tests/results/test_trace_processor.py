"""Perfetto's own trace processor reads a run's trace as our strict reader does.

Its Python package (`pip install perfetto`) holds the interface only: the program itself,
`trace_processor_shell`, is downloaded at the first use, which needs a network. So the test
runs where both are there: the program on PATH or named by CIMSIM_TRACE_PROCESSOR.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from test_trace_queries import ALL, WHOLE, run, tables_of

from cimsim.results import trace_json, write_gzip

PROGRAM = os.environ.get("CIMSIM_TRACE_PROCESSOR") or shutil.which("trace_processor_shell")
NS_PER_PS = 1e-3

pytestmark = [
    pytest.mark.skipif(find_spec("perfetto") is None, reason="the package perfetto is missing"),
    pytest.mark.skipif(
        PROGRAM is None,
        reason="trace_processor_shell is neither on PATH nor named by CIMSIM_TRACE_PROCESSOR",
    ),
]


@pytest.fixture(scope="module", params=WHOLE)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from perfetto.trace_processor import TraceProcessor, TraceProcessorConfig

    result = run(WHOLE[request.param])
    path: Path = tmp_path_factory.mktemp("trace") / "trace.json.gz"
    activity = result.activity("decode_b4", ALL)
    path.write_bytes(write_gzip(trace_json([("chip", activity)], limit=ALL)))
    config = TraceProcessorConfig(bin_path=PROGRAM)
    with TraceProcessor(trace=str(path), config=config) as processor:
        yield processor, tables_of(result)


def test_it_finds_every_slice_by_kind(both: Any) -> None:
    processor, tables = both
    found = {
        row.category: (row.n, row.total)
        for row in processor.query(
            "select category, count(*) as n, sum(dur) as total from slice group by category"
        )
    }
    expected = tables.execute(
        "select category, count(*), sum(dur_ps) from slice group by category"
    ).fetchall()
    assert set(found) == {category for category, _, _ in expected}
    for category, count, total_ps in expected:
        n, total_ns = found[category]
        assert n == count
        # It keeps whole nanoseconds.
        assert total_ns == pytest.approx(total_ps * NS_PER_PS, abs=count)


def test_it_names_chips_and_resources_as_we_do(both: Any) -> None:
    processor, tables = both
    query = (
        "select process.name as process, thread.name as thread, count(*) as n from slice "
        "join thread_track on slice.track_id = thread_track.id "
        "join thread using (utid) join process using (upid) group by 1, 2"
    )
    found = {(row.process, row.thread): row.n for row in processor.query(query)}
    expected = tables.execute(
        "select process.name, thread.name, count(*) from slice join thread using (tid) "
        "join process on process.pid = thread.pid group by 1, 2"
    ).fetchall()
    assert found == {(process, thread): n for process, thread, n in expected}


def test_it_drops_nothing(both: Any) -> None:
    processor, _ = both
    errors = processor.query(
        "select name, value from stats where severity in ('error', 'data_loss') and value > 0"
    )
    assert [(row.name, row.value) for row in errors] == []


def test_it_finds_the_counters(both: Any) -> None:
    processor, tables = both
    (row,) = processor.query("select count(*) as n from counter")
    assert row.n == tables.execute("select count(*) from counter").fetchone()[0]
