"""Both schedulers equal the plain twin of the rules of time to the picosecond."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest

from cimsim.engine.build import build_plan
from cimsim.engine.events.compiled import run_compiled
from cimsim.engine.events.prefetch import _rank
from cimsim.engine.events.simpy_loop import run_simpy
from cimsim.engine.plan import Plan
from cimsim.engine.policies import POLICIES
from cimsim.engine.raw import RawRun
from cimsim.engine.run import choose_engine
from cimsim.engine.steps import CorrectionWork
from cimsim.errors import CimsimError, SimulationError
from tests.engine.chips import FakeCost, make_config, make_shape, make_system
from tests.twins.events.reference import run_reference


def lower(system, phase, batch, arrival_ps=None) -> Plan:  # type: ignore[no-untyped-def]
    return build_plan(
        system, system.trace,
        phase=phase, batch=batch, correction=CorrectionWork(3, 5), arrival_ps=arrival_ps,
    )  # fmt: skip


def differences(a: RawRun, b: RawRun) -> list[str]:
    return [f.name for f in fields(a) if not np.array_equal(getattr(a, f.name), getattr(b, f.name))]


def several_chips(seed: int) -> dict[str, object]:
    """Half of the systems have one chip, the others up to six."""
    rng = np.random.default_rng(seed + 1_000_000)
    link = {
        "topology": ("mesh", "ring", "full")[int(rng.integers(3))],
        "gb_per_s": float(rng.choice([0.5, 4.0, 37.3])),
        "latency_ns": float(rng.choice([0.0, 20.0])),
    }  # fmt: skip
    return {"chips": max(1, int(rng.integers(-4, 7))), "link": link}


def several_tiers(seed: int, *, switched: bool) -> dict[str, object]:
    """Tiles of half of the chips without slots have tiers."""
    rng = np.random.default_rng(seed + 2_000_000)
    tiers, switch_ns = int(rng.integers(0, 4)), float(rng.choice([0.0, 13.0, 400.0]))
    return {} if switched or tiers < 2 else {"tiers": tiers, "tier_switch_ns": switch_ns}


def random_plan(seed: int) -> Plan:
    """Draw a chip and a workload that stress every contended resource now and then."""
    rng = np.random.default_rng(seed)

    def pick(*values: object) -> object:
        return values[int(rng.integers(len(values)))]

    moe_layers, top_k = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    dense = int(rng.integers(0, 2)) if moe_layers > 1 else 0
    shape = make_shape(
        layers=moe_layers, experts=int(rng.integers(top_k, 12)), top_k=top_k,
        expert_width=pick(32, 64, 160), shared_width=pick(0, 48), shared_gate=pick(True, False),
        dense_layers=dense, dense_width=96,
    )  # fmt: skip
    analog = [p for p in ("attention", "router", "shared", "head") if rng.random() < 0.6]
    if pick(True, True, False):
        analog.append("experts")
    switched = "experts" in analog and rng.random() < 0.5
    config = make_config(
        chip={
            "analog_parts": analog or ["experts"],
            "switching": ("lru", "lfu", "pinned", "prefetch")[seed % 4],
        },
        tile={
            "pes": pick(1, 2, 4), "pe": {"crossbars": pick(1, 4)},
            "crossbar": {"rows": pick(32, 64), "cols": pick(128, 256)},
            "buffers": {"size_kb": pick(0.125, 0.5, 64.0)},
            **several_tiers(seed, switched=switched),
        },
        noc={
            "kind": pick("mesh", "torus", "cmesh", "ring", "full"),
            "contention": pick("packet", "none"), "flit_bits": pick(16, 32, 128),
        },
        memory={"kv": pick("on_chip", "dram"), "channels": pick(1, 2, 3)},
        digital={"units": pick(1, 3), "weight_sram_kb": pick(0, 4096), "kv_sram_kb": pick(2, 512)},
        workload={"tokens": 64, "context": 16, "in_flight": pick(1, 2, 4)},
        mapping={"replica_choice": pick("static", "least_loaded")},
        run={"flight_tokens": pick(1, 3, 16, 70)},
        system=several_chips(seed),
    )  # fmt: skip
    cost = FakeCost(
        fill_ps=int(rng.integers(0, 10_000)), interval_ps=int(rng.integers(1, 200_000)),
        write_ps=int(rng.integers(1, 3_000_000)), element_ps=int(rng.integers(0, 20)),
    )  # fmt: skip
    moe_experts = (moe_layers - dense) * shape.experts
    system = make_system(
        shape=shape, config=config, cost=cost, sequences=int(rng.integers(1, 5)),
        length=int(rng.integers(1, 24)), seed=seed,
        slots=int(rng.integers(1, moe_experts + 1)) if switched else 0,
        resident=int(rng.integers(0, 4)) if switched else 0,
        copies=1 if switched else int(rng.integers(1, 3)),
    )  # fmt: skip
    phase, batch = str(pick("prefill", "decode")), int(rng.integers(1, 9))
    arrivals = None
    if rng.random() < 0.3:
        streams = lower(system, phase, batch).flights.n_streams
        arrivals = np.sort(rng.integers(0, 10_000_000, streams)).astype(np.int64)
    plan = lower(system, phase, batch, arrivals)
    if rng.random() < 0.3 and plan.sites.count:
        power = rng.integers(1, 100, plan.sites.count)
        limit = int(power.max() * rng.uniform(1, 3))
        plan = replace(plan, sites=replace(plan.sites, power_nw=power), power_limit_nw=limit)
    return plan


def test_engines_agree_on_random_chips_and_workloads(scaled: Callable[[int], int]) -> None:
    policies: set[int] = set()
    switching = contention = waiting = limited = crossed = apart = stacked = turned = 0
    for seed in range(scaled(300)):
        plan = random_plan(seed)
        slow = run_reference(plan)
        assert differences(slow, run_compiled(plan)) == [], f"seed {seed}"
        assert differences(slow, run_simpy(plan)) == [], f"seed {seed}"
        assert np.array_equal(slow.parts_ps.sum(axis=1), slow.done_ps - slow.enter_ps)
        switching += bool(slow.loads.sum())
        if slow.loads.sum():
            policies.add(plan.slots.policy)
            apart += len(np.unique(plan.slots.chip[slow.slot_loads > 0])) > 1
        contention += bool(slow.parts_ps[:, 0].sum())
        limited += bool(slow.power_stall_ps)
        stacked += bool(slow.tier_switches.any())
        turned += bool(plan.sites.tier_turns.any())
        crossed += bool(slow.link_used[plan.transport.first_chip_link :].any())
        waiting += bool((slow.peak_buffer_bytes >= plan.tile_buffer_bytes).any())
    # The draw covers what it is for.
    assert stacked
    assert turned
    assert switching
    assert apart  # experts switched on several chips of a system
    assert policies == set(POLICIES.values())
    assert contention
    assert limited
    assert waiting
    assert crossed


def test_a_stall_is_named_by_the_compiled_engine_too() -> None:
    plan = lower(make_system(sequences=1), "prefill", 1)
    needs = plan.flights.needs.copy()
    needs[0] = 2
    plan = replace(plan, flights=replace(plan.flights, needs=needs))
    with pytest.raises(SimulationError, match=r"flight 0 .* waits for keys and values"):
        run_compiled(plan)


def test_an_event_limit_ends_a_compiled_run() -> None:
    with pytest.raises(SimulationError, match="limit of 100 events"):
        run_compiled(lower(make_system(), "prefill", 1), max_events=100)


@pytest.mark.parametrize("run", [run_simpy, run_compiled])
def test_a_time_limit_ends_a_run_by_name_and_one_not_reached_changes_nothing(
    run: Callable[..., RawRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Look at the clock often, so that a short run is looked at.
    monkeypatch.setattr("cimsim.engine.events.simpy_loop.CHECK_EVENTS", 50)
    monkeypatch.setattr("cimsim.engine.events.compiled.SLICE_EVENTS", 50)
    plan = lower(make_system(), "prefill", 1)
    with pytest.raises(SimulationError, match=r"limit of 0 s at .* flights unfinished"):
        run(plan, max_seconds=0.0)
    assert differences(run(plan, max_seconds=600.0), run(plan)) == []
    with pytest.raises(SimulationError, match="limit of 120 events"):
        run(plan, max_seconds=600.0, max_events=120)


def test_the_engine_is_chosen_by_size_and_by_name() -> None:
    plan = lower(make_system(), "prefill", 1)
    assert choose_engine(plan, "auto") == "simpy"
    assert choose_engine(plan, "compiled") == "compiled"
    with pytest.raises(CimsimError, match="is not an engine"):
        choose_engine(plan, "fast")


def test_results_do_not_depend_on_the_log() -> None:
    plan = lower(make_system(slots=5), "decode", 2)
    with_log, without = run_compiled(plan), run_compiled(plan, record=False)
    assert set(differences(with_log, without)) == {"visits", "jobs", "writes", "memory"}


def test_the_highest_scores_come_in_order_and_equal_ones_by_number() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        scores = rng.integers(0, 4, size=int(rng.integers(1, 20)))
        count = int(rng.integers(1, scores.size + 1))
        expected = np.argsort(-scores, kind="stable")[:count]
        found = np.zeros(count, dtype=np.int64)
        _rank.py_func(scores, found)  # type: ignore[attr-defined]
        assert np.array_equal(found, expected)
