"""A run's trace, read strictly and queried, gives back what the engines measured."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from trace_reader import read_trace

from cimsim.engine import EngineResult, simulate
from cimsim.engine.events.compiled import run_compiled
from cimsim.engine.events.simpy_loop import run_simpy
from cimsim.results import trace_json
from tests.engine.chips import System, make_config, make_system

ALL = 10**9
MEMORY = {"kv": "dram", "channels": 2}
WHOLE = {
    "one chip": make_system(config=make_config(digital={"weight_sram_kb": 0.0}, memory=MEMORY)),
    "switching": make_system(
        slots=5, resident=3, config=make_config(chip={"switching": "prefetch"}, memory=MEMORY)
    ),
    "several chips": make_system(config=make_config(system={"chips": 3}, memory=MEMORY)),
    "power limit": make_system(config=make_config(chip={"power_limit_w": 25e-6})),
}


def run(system: System, engine: str = "simpy") -> EngineResult:
    return simulate(
        system, system.trace,
        phase="decode", batch=4, engine=engine,
    )  # fmt: skip


def tables_of(result: EngineResult) -> sqlite3.Connection:
    return read_trace(trace_json([("chip", result.activity("decode_b4", ALL))], limit=ALL))


def busy_by_thread(tables: sqlite3.Connection) -> dict[str, int]:
    """Busy time of every thread by its name: all that is not waiting."""
    return dict(
        tables.execute(
            "select thread.name, sum(dur_ps) from slice join thread using (tid) "
            "where category <> 'wait' group by tid"
        )
    )


def pe_groups_of(result: EngineResult, tile: int) -> list[int]:
    """PE groups with PEs on a tile; one may lie on several."""
    sites = result.plan.sites
    return [
        group
        for group, (low, high) in enumerate(pairwise(sites.server_tile_ptr.tolist()))
        if tile in sites.server_tile[low:high]
    ]


@pytest.fixture(scope="module", params=WHOLE)
def result(request: pytest.FixtureRequest) -> EngineResult:
    return run(WHOLE[request.param])


@pytest.mark.parametrize("name", WHOLE)
def test_both_engines_write_the_same_trace(name: str) -> None:
    texts = [
        trace_json([("chip", run(WHOLE[name], engine).activity("decode_b4", ALL))], limit=ALL)
        for engine in ("simpy", "compiled")
    ]
    assert texts[0] == texts[1]


def test_slices_of_a_resource_add_up_to_its_busy_time(result: EngineResult) -> None:
    busy, span = busy_by_thread(tables_of(result)), result.makespan_ps
    by_group = {int(n.rpartition(" ")[2]): t for n, t in busy.items() if "PE group" in n}
    checked = set()
    for resource in result.resources:
        if resource.kind in {"digital unit", "memory channels"}:
            found = busy.get(resource.name, 0)
        elif resource.kind == "tile":  # as busy as the busiest of its PEs
            groups = pe_groups_of(result, int(resource.name.removeprefix("tile ")))
            found = max([by_group.get(group, 0) for group in groups] or [0])
        else:
            continue
        assert resource.utilisation == pytest.approx(found / span, abs=1e-12), resource.name
        checked.add((resource.kind, found > 0))
    assert {("tile", True), ("digital unit", True)} <= checked
    # Keys and values in DRAM are traffic.
    assert ("memory channels", True) in checked or result.plan.power_limit_nw


def test_every_visit_job_write_and_transfer_is_there(result: EngineResult) -> None:
    tables, raw, plan = tables_of(result), result.raw, result.plan
    counts = dict(tables.execute("select category, count(*) from slice group by category"))
    servers = np.diff(plan.sites.server_ptr)
    assert counts["visit"] == servers[raw.visits[:, 2]].sum()
    assert counts.get("write", 0) == servers[plan.slots.site[raw.writes[:, 0]]].sum()
    assert counts.get("switch", 0) == len(raw.writes)
    worked = raw.jobs[raw.jobs[:, 4] > raw.jobs[:, 3]]
    in_trace = tables.execute(
        "select flight, layer from slice where category = 'job' order by flight, ts_ps"
    ).fetchall()
    layers = [plan.steps[step].layer for step in worked[:, 2]]
    assert sorted(in_trace) == sorted(zip(worked[:, 1].tolist(), layers, strict=True))
    transfers, time = tables.execute(
        "select count(*), coalesce(sum(dur_ps), 0) from slice where category = 'memory'"
    ).fetchone()
    assert transfers >= len(raw.memory)
    assert time == raw.dram_busy_ps.sum()


def test_visits_carry_layer_expert_and_tokens(result: EngineResult) -> None:
    tables, plan = tables_of(result), result.plan
    log = result.visits
    # One PE group per visit, so that a visit counts once.
    of_expert = tables.execute(
        "select layer, expert, sum(tokens) from (select distinct layer, expert, tokens, flight, "
        "ts_ps from slice where category = 'visit' and expert is not null) group by layer, expert"
    ).fetchall()
    expected: dict[tuple[int, int], int] = {}
    for expert, vectors in zip(log.expert.tolist(), log.vectors.tolist(), strict=True):
        if expert >= 0:
            key = plan.copies.expert_units[expert]
            expected[key.layer, key.expert] = expected.get((key.layer, key.expert), 0) + vectors
    assert {(layer, expert): n for layer, expert, n in of_expert} == expected


def test_a_digital_unit_that_waits_for_memory_says_so() -> None:
    tables = tables_of(run(WHOLE["one chip"]))
    waits = tables.execute(
        "select count(*) from slice join thread using (tid) where category = 'wait' "
        "and slice.name = 'wait for memory' and thread.name like 'digital unit %'"
    ).fetchone()[0]
    assert waits > 0


def test_a_chip_without_crossbars_shows_its_jobs_and_what_they_read() -> None:
    # The model has no shared expert: all is digital.
    config = make_config(chip={"analog_parts": ["shared"]}, digital={"weight_sram_kb": 0.0})
    tables = tables_of(run(make_system(config=config)))
    kinds = {k for (k,) in tables.execute("select distinct category from slice")}
    assert kinds == {"job", "memory", "wait"}
    read = tables.execute("select distinct name from slice where category = 'memory'").fetchall()
    assert {"read weights", "read embeddings"} <= {name for (name,) in read}


def test_jobs_name_their_operations(result: EngineResult) -> None:
    names = {
        n for (n,) in tables_of(result).execute("select name from slice where category = 'job'")
    }
    assert any(n.startswith("rope, attention, softmax") for n in names)
    assert any("norm" in n for n in names)
    assert "nothing" not in names


def test_counters_follow_from_the_slices(result: EngineResult) -> None:
    tables = tables_of(result)
    held = dict(
        tables.execute("select ts_ps, value from counter where name = 'PEs' and pid = 1").fetchall()
    )
    assert held
    pes = np.add.reduceat(result.plan.sites.server_pes, result.plan.sites.server_tile_ptr[:-1])
    for time, value in held.items():
        running = tables.execute(
            "select thread.name from slice join thread using (pid, tid) join process using (pid) "
            "where (process.name in ('chip', 'chip chip 0') or process.name like 'chip: %' "
            "or process.name like 'chip chip 0: %') and "
            "category in ('visit', 'write') and ts_ps <= ? and ts_ps + dur_ps > ?",
            (time, time),
        ).fetchall()
        groups = [int(name.rpartition(" ")[2]) for (name,) in running]
        assert value == pes[groups].sum()
    tokens = tables.execute("select ts_ps, value from counter where name = 'tokens' order by 1")
    values = [value for _, value in tokens]
    assert values[-1] == 0
    assert max(values) == 4  # the batch


def test_resident_experts_never_exceed_the_slots() -> None:
    result = run(WHOLE["switching"])
    values = [
        v for (v,) in tables_of(result).execute("select value from counter where name = 'experts'")
    ]
    assert values[0] == 3  # as placed
    assert 0 <= min(values) < max(values) <= 5


def test_power_of_visits_stays_below_the_limit() -> None:
    result = run(WHOLE["power limit"])
    values = [
        v for (v,) in tables_of(result).execute("select value from counter where name = 'power'")
    ]
    assert 0 < max(values) <= result.plan.power_limit_nw


def test_a_cut_trace_holds_whole_slices_of_its_window_and_names_what_it_leaves_out() -> None:
    result = run(WHOLE["switching"])
    whole, cut = (result.activity("decode_b4", n) for n in (ALL, 200))
    assert 0 < len(cut.slices) <= 200
    start = whole.slices[:, 3]
    assert np.array_equal(cut.slices, whole.slices[start < cut.until_ps])
    assert start[start >= cut.until_ps].min() == cut.until_ps
    assert cut.total == whole.total == tuple(np.bincount(whole.slices[:, 2], minlength=6))
    for full, part in zip(whole.counters, cut.counters, strict=True):
        kept = full.time_ps < cut.until_ps
        assert np.array_equal(part.value, full.value[kept])


def test_a_run_without_logs_says_that_its_trace_is_empty() -> None:
    result = run(WHOLE["switching"])
    for engine in (run_simpy, run_compiled):
        bare = replace(result, raw=engine(result.plan, record=False))
        activity = bare.activity("decode_b4", ALL)
        assert len(activity.slices) == len(activity.counters) == 0
        assert "keeps no log" in trace_json([("chip", activity)])


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
