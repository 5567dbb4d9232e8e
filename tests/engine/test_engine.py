"""The reference engine: hand-computed times, conservation, and what waits for what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cimsim.chip import UnitKey
from cimsim.engine import CorrectionWork, EngineResult, simulate
from cimsim.engine.build import build_plan
from cimsim.engine.events.simpy_loop import run_simpy
from cimsim.engine.plan import Plan
from cimsim.errors import CimsimError, SimulationError
from cimsim.workload.trace import RoutingTrace
from tests.engine.chips import FakeCost, System, make_config, make_shape, make_system
from tests.twins.events.residency import Load, Residency


def run(system: System, phase: str = "decode", batch: int = 1, **options: object) -> EngineResult:
    return simulate(
        system, system.trace,
        phase=phase, batch=batch, engine="simpy", **options,  # type: ignore[arg-type]
    )  # fmt: skip


def lower(system: System, phase: str = "prefill", batch: int = 1) -> Plan:
    return build_plan(
        system, system.trace,
        phase=phase, batch=batch, correction=CorrectionWork(),
    )  # fmt: skip


def one_expert_chip(**noc: object) -> System:
    """One layer, one expert, everything else digital and free: one visit a token."""
    config = make_config(
        chip={"analog_parts": ["experts"]},
        noc=noc,
        memory={"kind": "none"},
        digital={"units": 1, "weight_sram_kb": 4096, "kv_sram_kb": 4096},
    )
    shape = make_shape(layers=1, experts=1, top_k=1)
    cost = FakeCost(element_ps=0)
    return make_system(shape=shape, config=config, cost=cost, sequences=1, length=1)


def test_a_visit_without_contention_takes_network_plus_fill_plus_interval() -> None:
    system = one_expert_chip(level="packet")
    result = run(system)
    # 64 inputs of 8 bits are 16 flits; 64 results of 16 bits are 32. Same router: interface,
    # injection link, router (3) and ejection link, then the rest of the packet, at 1 ns.
    there, back = (1 + 1 + 3 + 1 + 15) * 1000, (1 + 1 + 3 + 1 + 31) * 1000
    crossbars = system.placement.seats[0].crossbars
    inside = 5_000 + 100_000 + len(crossbars)
    hops = system.mesh.network.distance(
        system.mesh.router_of_digital[0], system.mesh.router_of_tile(crossbars[0] // 8)
    )
    assert hops == 0
    assert result.latency_ps.tolist() == [there + inside + back]
    # A fifth of the fill and a third of the interval are conversions.
    adc = 1_000 + (100_000 + len(crossbars)) // 3
    assert result.parts_ps[0].tolist() == [0, inside - adc, there + back, 0, 0, adc, 0]


def test_zero_load_network_is_never_slower_than_a_contended_one() -> None:
    loaded = run(make_system(config=make_config(noc={"level": "packet"})), "prefill")
    free = run(make_system(config=make_config(noc={"contention": "none"})), "prefill")
    assert free.makespan_ps < loaded.makespan_ps
    assert free.counts.link_bits == loaded.counts.link_bits


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_tokens_and_visits_are_conserved(phase: str) -> None:
    system = make_system(copies=2)
    result = run(system, phase, batch=3)
    assert result.tokens == system.trace.n_tokens
    vectors = result.counts.unit_vectors
    load = system.trace.load()
    for layer in range(2):
        assert vectors[UnitKey(layer, "attention")] == result.tokens
        for expert in range(8):
            assert vectors[UnitKey(layer, "experts", expert)] == load[layer, expert]
    assert np.array_equal(result.parts_ps.sum(axis=1), result.latency_ps)


def test_prefill_flights_wait_for_keys_and_values_of_earlier_ones() -> None:
    plan = lower(make_system())
    raw = run_simpy(plan)
    attends = np.flatnonzero(plan.step.kv == 1)[0]
    # The job that attends in layer 1 starts in order of position within every sequence.
    jobs = raw.jobs[raw.jobs[:, 2] == attends]
    for stream in range(plan.flights.n_streams):
        mine = jobs[plan.flights.stream[jobs[:, 1]] == stream]
        assert np.all(np.diff(mine[np.argsort(mine[:, 1]), 3]) >= 0)


def test_a_decoded_token_starts_when_the_one_before_is_complete() -> None:
    raw = run_simpy(lower(make_system(sequences=2), "decode", 2))
    for stream in range(2):
        mine = slice(16 * stream, 16 * stream + 16)
        assert np.array_equal(raw.enter_ps[mine][1:], raw.done_ps[mine][:-1])


def test_decode_splits_sequences_to_fill_the_batch() -> None:
    plan = lower(make_system(sequences=2), "decode", 8)
    assert plan.flights.n_streams == 8
    assert plan.flights.past.tolist() == [*range(16), *range(16)]


def test_decode_latency_grows_with_the_batch_and_so_does_throughput() -> None:
    one, eight = (run(make_system(sequences=8), "decode", b) for b in (1, 8))
    assert eight.latency_ps.mean() > one.latency_ps.mean()
    assert eight.makespan_ps < one.makespan_ps


def test_a_token_visits_the_copy_that_its_index_chooses() -> None:
    system = make_system(copies=2)
    plan = lower(system, "decode")
    raw = run_simpy(plan)
    names = plan.sites.names
    for flight, _, site, expert, *_ in raw.visits.tolist():
        if expert >= 0 and expert % 2 == 0:  # even experts have two copies
            assert names[site].endswith(str(plan.token_key[flight] % 2))


def test_tile_buffers_hold_visits_back_and_are_never_overfilled() -> None:
    wide = run(make_system(), "prefill")
    narrow = run(make_system(config=make_config(tile={"buffers": {"size_kb": 0.25}})), "prefill")
    assert narrow.peak_buffer_bytes.max() <= 256 < wide.peak_buffer_bytes.max()
    # Visits that waited for room were sent on their own: more events, the same work.
    assert narrow.events > wide.events
    assert narrow.counts.unit_vectors == wide.counts.unit_vectors


def test_a_tile_buffer_takes_memory_for_what_waits_in_it_whatever_it_holds() -> None:
    """A buffer of a terabyte would hold ten thousand million results."""
    wide = make_system(config=make_config(tile={"buffers": {"size_kb": 64}}))
    huge = make_system(config=make_config(tile={"buffers": {"size_kb": 1e9}}))
    for phase in ("prefill", "decode"):
        ours, theirs = run(huge, phase), run(wide, phase)
        np.testing.assert_array_equal(ours.latency_ps, theirs.latency_ps)
        np.testing.assert_array_equal(ours.peak_buffer_bytes, theirs.peak_buffer_bytes)
        assert (ours.makespan_ps, ours.events) == (theirs.makespan_ps, theirs.events)


def test_switching_counts_what_it_fetches_and_writes() -> None:
    system = make_system(slots=6, resident=3)
    result = run(system, "decode", batch=2)
    switching, counts = result.switching, result.counts
    assert switching.count == sum(counts.programmed.values()) > 0
    assert switching.fetched_bytes == counts.dram_read_bytes["switch"]
    assert switching.fetched_bytes == switching.count * 3 * 64 * 64
    assert 0 < switching.hit_rate < 1
    assert switching.stall_ps > 0
    # A slot holds one expert at a time: its writes don't overlap.
    for slot in range(6):
        writes = switching.writes[switching.writes[:, 0] == slot]
        assert np.all(writes[1:, 5] >= writes[:-1, 6])


def test_enough_slots_switch_each_expert_in_once() -> None:
    result = run(make_system(slots=16), "decode", batch=1)
    assert result.switching.count <= 16
    assert all(n == 1 for n in result.counts.programmed.values())


def test_a_load_takes_an_empty_slot_then_the_least_recently_used_free_one() -> None:
    residency = Residency(lower(make_system(slots=3, resident=2)))
    assert residency.victim(0) == 2  # empty
    residency.begin(2, Load(5, 0, 0, 0))
    residency.end(2, 0)
    assert residency.victim(0) == 0  # never used
    residency.touch(0)
    assert residency.victim(0) == 1
    residency.pins[1] = 1
    assert residency.victim(0) == 2
    residency.loading[2] = Load(6, 0, 0, 0)
    assert residency.victim(0) == 0
    residency.pins[0] = 1
    assert residency.victim(0) == -1


def test_utilisation_stays_within_one_and_names_the_busiest() -> None:
    result = run(make_system(), "prefill")
    used = result.utilisation
    for share in (used.tile, used.digital, used.link, used.dram):
        assert share.min() >= 0
        assert share.max() <= 1
    assert result.critical_resource


def test_a_correction_adds_its_operations_to_counts_and_time() -> None:
    system = make_system()
    plain = run(system)
    extra = run(system, correction=CorrectionWork(macs=100, elements=50))
    assert extra.counts.digital_macs["correction"] == 100 * 64 * 2
    assert extra.counts.digital_elements["correction"] == 50 * 64 * 2
    assert extra.makespan_ps > plain.makespan_ps


def test_a_stall_says_who_waits_for_what() -> None:
    plan = lower(make_system(sequences=1))
    needs = plan.flights.needs.copy()
    needs[0] = 2  # the first flight waits for the third, which waits for the first
    plan = replace(plan, flights=replace(plan.flights, needs=needs))
    with pytest.raises(SimulationError, match=r"flight 0 .* waits for keys and values"):
        run_simpy(plan)


def test_an_event_limit_ends_a_run_with_a_named_error() -> None:
    with pytest.raises(SimulationError, match="limit of 100 events"):
        run_simpy(lower(make_system(), "decode"), max_events=100)


def test_keys_and_values_without_room_need_off_chip_memory() -> None:
    config = make_config(memory={"kind": "none"}, digital={"kv_sram_kb": 0.5})
    with pytest.raises(CimsimError, match="don't fit on chip"):
        run(make_system(config=config))


def test_keys_and_values_in_dram_are_read_from_there() -> None:
    on_chip = run(make_system())
    off_chip = run(make_system(config=make_config(memory={"kv": "dram"})))
    past = 4 * sum(range(16)) * 2 * (2 * 64 * 2)
    assert on_chip.counts.dram_read_bytes.get("kv", 0) == 0
    assert off_chip.counts.dram_read_bytes["kv"] == off_chip.counts.kv_read_bytes == past
    assert off_chip.makespan_ps > on_chip.makespan_ps


def test_a_trace_of_another_model_is_refused() -> None:
    system = make_system()
    trace = system.trace
    wrong = RoutingTrace(trace.experts[:, :1], trace.sequence, trace.position, 8)
    with pytest.raises(CimsimError, match="doesn't fit the model"):
        run(replace(system, trace=wrong))
    wrong = RoutingTrace(trace.experts + np.int16(4), trace.sequence, trace.position, 12)
    with pytest.raises(CimsimError, match="expert that the model doesn't have"):
        run(replace(system, trace=wrong))


def test_arrivals_wait_for_a_free_place_in_flight() -> None:
    system = make_system(sequences=4)
    together = np.zeros(4, dtype=np.int64)
    apart = np.arange(4, dtype=np.int64) * 10**9
    queued = run(system, "decode", 1, arrival_ps=together)
    spaced = run(system, "decode", 1, arrival_ps=apart)
    assert queued.parts_ps[:, 0].max() > spaced.parts_ps[:, 0].max()
    assert spaced.makespan_ps > 3 * 10**9


def test_a_power_limit_holds_at_every_moment_and_costs_time() -> None:
    # Every site draws 1 pJ per vector: 1 pJ / 100 ns = 10 uW; attention's two stages share it.
    free = make_system()
    limited = make_system(config=make_config(chip={"power_limit_w": 25e-6}))
    plain, bounded = run(free, "prefill"), run(limited, "prefill")
    assert plain.power_stall_ps == 0 < bounded.power_stall_ps
    assert bounded.makespan_ps > plain.makespan_ps
    plan = lower(limited)
    power = plan.sites.power_nw[bounded.visits.site]
    start = bounded.visits.start_ps
    end = start + bounded.visits.vectors * plan.sites.interval_ps[bounded.visits.site]
    for moment in start.tolist():
        assert power[(start <= moment) & (moment < end)].sum() <= plan.power_limit_nw


def test_a_power_limit_below_one_visit_is_refused() -> None:
    with pytest.raises(CimsimError, match=r"chip\.power_limit_w"):
        run(make_system(config=make_config(chip={"power_limit_w": 1e-6})))


def test_arrivals_past_saturation_end_with_a_caution() -> None:
    system = make_system(sequences=8)
    rushed = run(system, "decode", 4, arrival_ps=np.arange(8, dtype=np.int64) * 1_000_000)
    calm = run(system, "decode", 4, arrival_ps=np.arange(8, dtype=np.int64) * 1_000_000_000)
    assert any("arrivals exceed" in c for c in rushed.cautions)
    assert not any("arrivals exceed" in c for c in calm.cautions)


def test_a_run_says_when_network_contention_is_off() -> None:
    result = run(make_system(config=make_config(noc={"contention": "none"})))
    assert any("contention is switched off" in c for c in result.cautions)


KNOBS: list[tuple[str, dict[str, dict[str, object]]]] = [
    ("prefill", {"noc": {"kind": "torus"}}),
    ("prefill", {"noc": {"kind": "cmesh", "concentration": 2}}),
    ("prefill", {"noc": {"kind": "ring"}}),
    ("prefill", {"noc": {"kind": "full"}}),
    ("decode", {"noc": {"flit_bits": 64}}),
    ("decode", {"noc": {"clock_ghz": 2.0}}),
    ("decode", {"noc": {"router_cycles": 1}}),
    ("decode", {"noc": {"link_cycles": 3}}),
    ("prefill", {"noc": {"contention": "none"}}),
    ("decode", {"memory": {"channels": 1}}),
    ("decode", {"memory": {"channel_gb_per_s": 1.0}}),
    ("decode", {"memory": {"latency_ns": 500.0}}),
    ("decode", {"memory": {"kind": "none"}}),
    ("decode", {"memory": {"kv": "dram"}}),
    ("decode", {"memory": {"kv_bits": 8}}),
    ("decode", {"digital": {"units": 1}}),
    ("decode", {"digital": {"kv_sram_kb": 2.0}}),
    ("decode", {"digital": {"weight_sram_kb": 0.0}}),
    ("prefill", {"workload": {"in_flight": 1}}),
    ("prefill", {"run": {"flight_tokens": 8}}),
    ("prefill", {"tile": {"buffers": {"size_kb": 0.25}}}),
    ("prefill", {"tile": {"pes": 4}}),
    ("prefill", {"tile": {"pe": {"crossbars": 8}}}),
    ("prefill", {"tile": {"input": {"bits": 4}}}),
    ("prefill", {"tile": {"weight": {"bits": 4}}}),
    ("prefill", {"chip": {"analog_parts": ["experts"]}}),
    ("prefill", {"chip": {"power_limit_w": 25e-6}}),
]


@pytest.mark.parametrize(("phase", "change"), KNOBS, ids=[str(c) for _, c in KNOBS])
def test_every_knob_moves_what_a_run_reports(phase: str, change: dict) -> None:  # type: ignore[type-arg]
    plain, turned = (
        run(make_system(), phase, 4),
        run(make_system(config=make_config(**change)), phase, 4),
    )
    moved = plain.makespan_ps != turned.makespan_ps or plain.counts != turned.counts
    assert moved
