"""Laws that any run obeys: queueing theory, conservation, bounds, and named stalls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from cimsim.engine.belady import belady_hits
from cimsim.engine.build import build_plan
from cimsim.engine.counts import check_conservation
from cimsim.engine.events.compiled import run_compiled
from cimsim.engine.events.first_tables import visit_bound
from cimsim.engine.events.simpy_loop import run_simpy
from cimsim.engine.noc.packet import BUSY_PS
from cimsim.engine.plan import Plan
from cimsim.engine.policies import PINNED
from cimsim.engine.raw import EXPERT, RawRun
from cimsim.engine.steps import CorrectionWork
from cimsim.errors import SimulationError
from cimsim.rng import derive_key, uniform_bits_at
from cimsim.workload.arrivals import poisson_arrivals_ps
from tests.engine.chips import make_config, make_shape, make_system
from tests.engine.test_compiled import lower, random_plan

ARRIVALS = 1_000_000
SERVICE_PS = 500_000
# As many as a chip file may say; at half load so many never wait at once.
IN_FLIGHT = 4096


def queue_of_jobs(service_ps: np.ndarray, arrival_ps: np.ndarray) -> Plan:
    """One digital unit that serves one job a stream; nothing else takes time."""
    n = len(service_ps)
    config = make_config(
        chip={"analog_parts": ["shared"]},  # the model has no shared expert: all is digital
        memory={"kind": "none"},
        digital={"units": 1, "kv_sram_kb": 1e9},
        workload={"tokens": 16, "context": 16, "in_flight": IN_FLIGHT},
        run={"flight_tokens": 1},
    )
    system = make_system(
        shape=make_shape(layers=1, experts=2, top_k=1), config=config, sequences=n, length=1
    )
    plan = build_plan(
        system, system.trace,
        phase="prefill", batch=1, correction=CorrectionWork(), arrival_ps=arrival_ps,
    )  # fmt: skip
    step = replace(
        plan.step,
        job_ps=np.zeros_like(plan.step.job_ps),
        attention_ps=service_ps[None, :].copy(),
    )
    return replace(plan, step=step)


@pytest.mark.parametrize(("law", "factor"), [("M/M/1", 1.0), ("M/D/1", 0.5)])
def test_waits_follow_queueing_theory(law: str, factor: float) -> None:
    load = 0.5
    arrivals = poisson_arrivals_ps(ARRIVALS, load / (SERVICE_PS * 1e-12), seed=5)
    service = np.full(ARRIVALS, SERVICE_PS, dtype=np.int64)
    if law == "M/M/1":
        bits = uniform_bits_at(ARRIVALS, (0, 0, 0), derive_key(6, 0))
        service = (-np.log((bits + 0.5) / 2.0**32) * SERVICE_PS).round().astype(np.int64)
    raw = run_compiled(queue_of_jobs(service, arrivals), record=False)
    wait = raw.parts_ps[:, 0].mean()
    # Pollaczek-Khinchine: W = rho / (1 - rho) x service x (1 + variation^2) / 2.
    assert wait == pytest.approx(load / (1 - load) * SERVICE_PS * factor, rel=0.02)
    assert raw.digital_busy_ps[0] == service.sum()


def test_littles_law_holds_on_drained_runs() -> None:
    for seed in range(20):
        raw = run_compiled(random_plan(seed))
        times = np.concatenate([raw.enter_ps, raw.done_ps])
        change = np.concatenate([np.ones_like(raw.enter_ps), -np.ones_like(raw.done_ps)])
        order = np.argsort(times, kind="stable")
        inside = np.cumsum(change[order])[:-1]
        area = float((inside * np.diff(times[order])).sum())
        sojourn = float((raw.done_ps - raw.enter_ps).sum())
        assert area == pytest.approx(sojourn, rel=1e-9)


def least_latency_ps(plan: Plan) -> np.ndarray:
    """Digital jobs and the fastest site of every stage, without any wait or transfer."""
    sites = plan.sites
    single = sites.fill_ps + sites.interval_ps
    total = np.zeros(plan.flights.count, dtype=np.int64)
    for step in range(len(plan.steps)):
        row = plan.step.attention[step]
        total += (
            plan.step.attention_ps[row] if row >= 0 else plan.step.job_ps[step, plan.flights.size]
        )
        group, shared = plan.step.group[step], plan.step.shared[step]
        for g in (group, shared):
            if g >= 0:
                chosen = plan.copies.group_sites[
                    plan.copies.group_ptr[g] : plan.copies.group_ptr[g + 1]
                ]
                total += single[chosen].min() * (g == group or plan.step.moe[step] < 0)
        if plan.step.moe[step] >= 0:
            total += single.min()
    return total


def test_no_random_run_breaks_a_bound(scaled: Callable[[int], int]) -> None:
    for seed in range(1000, 1000 + scaled(1000)):
        plan = random_plan(seed)
        raw = run_compiled(plan)
        check_conservation(plan, raw)
        span = raw.end_ps
        assert (raw.server_busy_ps + raw.server_write_ps).max(initial=0) <= span
        assert raw.digital_busy_ps.max() <= span
        assert raw.dram_busy_ps.max() <= span
        assert min(raw.server_write_ps.min(initial=0), raw.dram_busy_ps.min()) >= 0
        assert raw.link_used[:, BUSY_PS].max() <= span or not plan.transport.contended
        assert np.all(raw.done_ps - raw.enter_ps >= least_latency_ps(plan))
        assert raw.site_visits.sum() <= visit_bound(plan)
        assert raw.peak_buffer_bytes.max(initial=0) <= plan.tile_buffer_bytes


def brute_force_hits(requests: list[int], slots: int) -> int:
    """Try every choice of victims."""
    states: dict[frozenset[int], int] = {frozenset(): 0}
    for expert in requests:
        following: dict[frozenset[int], int] = {}
        for held, hits in states.items():
            if expert in held:
                options = [(held, hits + 1)]
            else:
                keep = combinations(sorted(held), min(len(held), slots - 1))
                options = [(frozenset(k) | {expert}, hits) for k in keep]
            for state, count in options:
                following[state] = max(following.get(state, 0), count)
        states = following
    return max(states.values())


def test_beladys_bound_is_the_best_of_all_choices(scaled: Callable[[int], int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(scaled(500)):
        slots = int(rng.integers(1, 4))
        requests = rng.integers(0, 6, int(rng.integers(1, 14)))
        empty = np.full(slots, -1, dtype=np.int64)
        assert belady_hits(requests, empty) == brute_force_hits(requests.tolist(), slots)


@pytest.mark.parametrize("policy", ["lru", "lfu", "pinned"])
def test_no_demand_policy_beats_beladys_bound(policy: str) -> None:
    for seed in range(5):
        config = make_config(chip={"switching": policy})
        plan = lower(make_system(slots=6, resident=3, config=config, seed=seed), "decode", 2)
        raw = run_compiled(plan)
        assert raw.hits + raw.misses == len(raw.requests)
        assert raw.hits <= belady_hits(raw.requests, plan.slots.initial)


@pytest.mark.parametrize("policy", ["lru", "lfu", "pinned", "prefetch"])
@pytest.mark.parametrize("run", [run_simpy, run_compiled])
def test_every_chip_of_a_system_switches_its_own_experts_in_its_own_slots(
    run: Callable[..., RawRun], policy: str
) -> None:
    config = make_config(chip={"switching": policy}, system={"chips": 3})
    plan = lower(make_system(slots=9, resident=4, config=config), "decode", 2)
    slots, raw = plan.slots, run(plan)
    check_conservation(plan, raw)
    assert len(np.unique(slots.chip)) > 1
    chip_of_site = plan.sites.tiles[plan.sites.tile_ptr[:-1]] // plan.mesh.chip_tiles
    assert np.array_equal(slots.chip, chip_of_site[slots.site])
    slot, expert = raw.writes[:, 0], raw.writes[:, 1]
    assert len(slot)
    assert np.array_equal(slots.chip[slot], slots.home[expert])
    # What a chip fetches comes from its own memory.
    fetched = raw.memory[raw.memory[:, 1] == EXPERT]
    assert np.array_equal(fetched[:, 0], slots.home[fetched[:, 2]])
    served = raw.visits[raw.visits[:, 3] >= 0]
    assert np.array_equal(chip_of_site[served[:, 2]], slots.home[served[:, 3]])
    assert raw.hits + raw.misses == len(raw.requests)
    assert raw.loads.sum() == raw.slot_loads.sum() >= len(raw.writes)
    if policy != "prefetch":
        best = 0
        for chip in range(plan.chips):
            asked = raw.requests[slots.home[raw.requests] == chip]
            best += belady_hits(asked, slots.initial[slots.chip == chip])
        assert raw.hits <= best


def test_pinned_experts_stay_once_loaded() -> None:
    config = make_config(chip={"switching": "pinned"})
    plan = lower(make_system(slots=8, config=config), "decode", 2)
    raw = run_compiled(plan)
    assert plan.slots.hot.sum() == 6
    assert np.all(raw.loads[plan.slots.hot] <= 1)


def test_prefetching_finds_more_experts_resident_where_layers_are_linked() -> None:
    hits = {}
    for policy in ("lru", "prefetch"):
        config = make_config(chip={"switching": policy})
        system = make_system(slots=8, config=config, length=64, sequences=2)
        experts = system.trace.experts.copy()
        experts[:, 1] = experts[:, 0]  # the second layer repeats the first
        system = replace(system, trace=replace(system.trace, experts=experts))
        raw = run_compiled(lower(system, "decode", 1))
        hits[policy] = raw.hits / (raw.hits + raw.misses)
    assert hits["prefetch"] > hits["lru"]


def stuck_keys(stream: int, flight: int) -> Plan:
    """A flight that attends to flights that its sequence doesn't have."""
    plan = lower(make_system(sequences=4), "prefill", 1)
    needs = plan.flights.needs.copy()
    needs[plan.flights.stream_ptr[stream] + flight] = 5 + flight  # of 4
    return replace(plan, flights=replace(plan.flights, needs=needs))


def stuck_slots(slots: int) -> Plan:
    """Slots that are all given to experts that are never given up."""
    config = make_config(chip={"switching": "pinned"})
    plan = lower(make_system(slots=slots, config=config), "decode", 2)
    hot = np.ones_like(plan.slots.hot)
    return replace(plan, slots=replace(plan.slots, hot=hot, policy=PINNED))


def stuck_streams(phase: str, *, arrivals: bool) -> Plan:
    """A chip that admits no stream."""
    plan = lower(make_system(), phase, 1)
    times = np.arange(plan.flights.n_streams, dtype=np.int64)
    return replace(plan, concurrency=0, arrival_ps=times if arrivals else plan.arrival_ps)


CYCLES: list[tuple[Callable[[], Plan], str]] = [
    *((lambda s=s, f=f: stuck_keys(s, f), "keys and values") for s in (1, 2, 3) for f in (0, 1, 2)),
    (lambda: stuck_keys(0, 0), "keys and values"),
    *((lambda n=n: stuck_slots(n), "a slot for expert") for n in (1, 2, 3, 4, 5, 6)),
    (lambda: stuck_streams("prefill", arrivals=False), "a free place in flight"),
    (lambda: stuck_streams("prefill", arrivals=True), "a free place in flight"),
    (lambda: stuck_streams("decode", arrivals=False), "a free place in flight"),
    (lambda: stuck_streams("decode", arrivals=True), "a free place in flight"),
]  # type: ignore[misc]


@pytest.mark.timeout(5)
@pytest.mark.parametrize("case", range(20))
def test_a_wait_that_cannot_end_is_an_error_that_names_it(case: int) -> None:
    make, what = CYCLES[case]
    with pytest.raises(SimulationError, match=f"stalled .* waits for .*{what}"):
        run_simpy(make())
