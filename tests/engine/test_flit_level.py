"""The SimPy engine on the flit-level network: laws, the packet level as a measure, choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from cimsim.engine.counts import check_conservation
from cimsim.engine.events.flit_loop import FlitLoop, run_flit
from cimsim.engine.events.simpy_loop import SimpyRun, run_simpy
from cimsim.engine.network_choice import FLIT_HOPS_PER_S, flit_work, network_without_effect
from cimsim.engine.noc.packet import BUSY_PS, FLITS
from cimsim.engine.plan import Plan
from cimsim.engine.result import EngineResult
from cimsim.engine.run import time_plan
from cimsim.errors import CimsimError, SimulationError
from tests.engine.chips import System, make_config, make_shape, make_system
from tests.engine.test_compiled import differences, lower, random_plan
from tests.engine.test_laws import CYCLES, least_latency_ps
from tests.engine.test_numbers import Replay
from tests.twins.events.flit import run_flit as run_flit_twin


def plans(first: int, count: int) -> Iterator[tuple[int, Plan]]:
    """Yield random plans of one chip with contended links, by seed."""
    seed = first
    while count:
        plan = random_plan(seed)
        if plan.chips == 1 and plan.transport.contended and flit_plan_is_small(plan):
            yield seed, plan
            count -= 1
        seed += 1


def flit_plan_is_small(plan: Plan) -> bool:
    """Leave out plans that send millions of flits of weights, and networks too large to take."""
    shape, sizes = plan.transport.shape, plan.transport.sizes
    ports = shape.routers * (shape.router_links + shape.concentration)
    buffers = ports * sizes.virtual_channels * sizes.buffer_flits
    weights = int(plan.slots.fetch_flits.max(initial=0)) * len(plan.slots.site)
    return weights < 20_000 and buffers <= 1 << 22


def test_no_random_run_breaks_a_bound(scaled: Callable[[int], int]) -> None:
    switched = limited = summed = compared = 0
    for seed, plan in plans(3000, scaled(200)):
        raw = run_flit(plan)
        check_conservation(plan, raw)
        span = raw.end_ps
        assert (raw.server_busy_ps + raw.server_write_ps).max(initial=0) <= span
        assert raw.digital_busy_ps.max() <= span
        assert raw.dram_busy_ps.max() <= span
        assert raw.link_used[:, BUSY_PS].max() <= span
        assert min(raw.server_write_ps.min(initial=0), raw.dram_busy_ps.min()) >= 0
        assert np.all(raw.done_ps - raw.enter_ps >= least_latency_ps(plan)), seed
        assert raw.peak_buffer_bytes.max(initial=0) <= plan.tile_buffer_bytes
        assert (raw.visits[:, 7] > raw.visits[:, 6]).all()
        packet = run_simpy(plan)
        peak = max(r.peak_buffer_bytes.max(initial=0) for r in (raw, packet))
        switching = raw.loads.any() or packet.loads.any()
        if not switching and not plan.least_loaded and peak < plan.tile_buffer_bytes:
            # What is sent together is the same, and trees carry each vector once per link.
            compared += 1
            assert np.array_equal(raw.link_used[:, FLITS], packet.link_used[:, FLITS]), seed
        assert np.array_equal(raw.site_vectors.sum(), packet.site_vectors.sum())
        switched += bool(raw.loads.any())
        limited += bool(raw.power_stall_ps)
        summed += bool(plan.step.summed.any())
    assert switched
    assert limited
    assert summed
    assert compared


def test_the_schedulers_rules_equal_their_plain_twin_flit_by_flit(
    scaled: Callable[[int], int],
) -> None:
    switched = limited = 0
    for seed, plan in plans(5000, scaled(100)):
        raw = run_flit(plan)
        assert differences(raw, run_flit_twin(plan)) == [], seed
        switched += bool(raw.loads.any())
        limited += bool(raw.power_stall_ps)
    assert switched
    assert limited


def test_the_same_plan_gives_the_same_run() -> None:
    for _, plan in plans(3000, 3):
        assert differences(run_flit(plan), run_flit(plan)) == []


def one_at_a_time(top_k: int, **noc: object) -> System:
    """Tokens that travel alone through experts of one tile each."""
    config = make_config(
        run={"flight_tokens": 1}, workload={"tokens": 64, "context": 16, "in_flight": 1},
        noc={"flit_bits": 32, **noc}, chip={"analog_parts": ["experts"]},
        tile={"pes": 1, "pe": {"crossbars": 6}},
    )  # fmt: skip
    return make_system(shape=make_shape(top_k=top_k), config=config, sequences=2, length=8)


@pytest.mark.parametrize("kind", ["mesh", "torus", "cmesh"])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_a_lonely_token_takes_as_long_as_at_the_packet_level(kind: str, top_k: int) -> None:
    plan = lower(one_at_a_time(top_k, kind=kind), "decode", 1)
    assert (np.diff(plan.sites.tile_ptr) == 1).all()
    packet, flit = run_simpy(plan), run_flit(plan)
    cycle = plan.transport.timing.cycle_ps
    slower = (flit.done_ps - flit.enter_ps) - (packet.done_ps - packet.enter_ps)
    # Each transfer may wait for the next cycle to begin; each stage has two.
    stages = sum(step.visits for step in plan.steps)
    assert slower.min() >= 0
    assert slower.max() <= 2 * stages * cycle


def test_a_slower_router_costs_what_it_costs_at_the_packet_level() -> None:
    fast, slow = (lower(one_at_a_time(1, router_cycles=n), "decode", 1) for n in (3, 7))
    more = [run(slow).end_ps - run(fast).end_ps for run in (run_simpy, run_flit)]
    assert more[0] > 0
    stages = sum(step.visits for step in fast.steps)
    cycle, tokens = fast.transport.timing.cycle_ps, fast.flights.count
    assert abs(more[1] - more[0]) <= 2 * stages * cycle * tokens


def test_fewer_channels_and_shorter_buffers_take_longer_under_load() -> None:
    config = make_config(
        noc={"flit_bits": 8, "clock_ghz": 0.05}, workload={"tokens": 64, "context": 16}
    )
    plan = lower(make_system(config=config), "prefill", 1)
    few = replace(plan.transport.sizes, virtual_channels=1, buffer_flits=2, packet_flits=2)
    small = replace(plan, transport=replace(plan.transport, sizes=few))
    assert run_flit(small).end_ps > 1.1 * run_flit(plan).end_ps


def test_a_model_beside_the_engine_sees_what_one_before_it_sees() -> None:
    switched = 0
    for seed, plan in plans(4000, 12):
        known = plan.experts.copy()
        alone = run_flit(plan)
        beside = replace(plan, experts=np.full_like(known, -1))
        model = Replay(beside, known)
        assert differences(alone, run_flit(beside, numbers=model)) == [], seed
        starts = [tuple(v) for v in alone.visits[:, [0, 1, 2, 6]].tolist()]
        assert starts == model.starts
        switched += bool(model.writes)
    assert switched


@pytest.mark.parametrize("case", range(0, 20, 3))
def test_a_wait_that_cannot_end_is_an_error_that_names_it(case: int) -> None:
    make, what = CYCLES[case]
    with pytest.raises(SimulationError, match=f"stalled .* waits for .*{what}"):
        run_flit(make())


def test_a_network_that_cannot_move_is_an_error_that_names_who_waits() -> None:
    plan = lower(make_system(), "prefill", 1)
    engine = FlitLoop(plan, SimpyRun(record=False))
    engine.wires._net.state.outs[:, 1] = -(1 << 40)
    with pytest.raises(SimulationError, match=r"a vector from digital unit .* waits for a channel"):
        engine.run()


def run_at(level: str, *, engine: str = "auto", **sections: dict[str, object]) -> EngineResult:
    noc = {"flit_bits": 32, "level": level, **sections.pop("noc", {})}
    system = make_system(config=make_config(noc=noc, **sections))
    plan = lower(system, "prefill", 1)
    return time_plan(system, plan, engine=engine)


BUSY: dict[str, object] = {"clock_ghz": 0.02}
"""A network that is slower than the tiles."""


def test_auto_stays_at_the_packet_level_inside_its_range() -> None:
    noc = {"clock_ghz": 10.0, "flit_bits": 512}
    result = run_at("auto", noc=noc)
    assert result.network.startswith("packet level, within ")
    assert differences(result.raw, run_at("packet", noc=noc).raw) == []


def test_auto_goes_to_the_flit_level_where_the_packet_level_is_out_of_range() -> None:
    result = run_at("auto", noc=BUSY)
    assert (result.network, result.engine) == ("flit level", "simpy")
    assert not any("packet-level" in caution for caution in result.cautions)
    assert differences(result.raw, run_at("flit", noc=BUSY).raw) == []
    # Which engine runs the packet level before does not decide.
    assert differences(result.raw, run_at("auto", engine="compiled", noc=BUSY).raw) == []
    assert differences(result.raw, run_at("packet", noc=BUSY).raw) != []


def test_auto_judges_the_routing_expected_where_numbers_depend_on_time() -> None:
    system = make_system(config=make_config(noc={"flit_bits": 32, **BUSY}))
    plan = lower(system, "prefill", 1)
    known = plan.experts.copy()
    alone = time_plan(system, plan)
    beside = time_plan(system, plan, numbers=lambda p: Replay(p, known))
    assert alone.network == beside.network == "flit level"
    assert differences(alone.raw, beside.raw) == []


def test_auto_says_why_it_did_not_go_to_the_flit_level(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_at("packet", noc=BUSY).network == ("packet level, out of range: noc.level is packet")
    assert "chips" in run_at("auto", noc=BUSY, system={"chips": 2}).network
    monkeypatch.setattr("cimsim.engine.network_choice.MOST_FLIT_HOPS", 10)
    large = run_at("auto", noc=BUSY)
    seconds = -(-flit_work(large.raw) // FLIT_HOPS_PER_S)
    why = f"too large for the flit level, which would take about {seconds} s"
    assert large.network == f"packet level, out of range: {why}"
    assert any("too large for the flit level" in caution for caution in large.cautions)
    assert flit_work(large.raw) > 10


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"engine": "compiled"}, "compiled engine"),
        ({"system": {"chips": 2}}, "between chips"),
        ({"noc": {"router_cycles": 2}}, "3 cycles or more"),
    ],
)
def test_a_flit_level_that_cannot_be_had_is_refused_by_name(
    changes: dict[str, object], why: str
) -> None:
    with pytest.raises(CimsimError, match=why) as caught:
        run_at("flit", **changes)  # type: ignore[arg-type]
    assert caught.value.key == "noc.level"


def test_without_contention_the_level_changes_nothing() -> None:
    free: dict[str, object] = {"contention": "none"}
    plain, flit = run_at("auto", noc=free), run_at("flit", noc=free)
    assert differences(plain.raw, flit.raw) == []
    assert flit.network == "no contention"


def test_knobs_of_the_flit_level_are_said_to_have_no_effect_where_it_did_not_serve() -> None:
    config = make_config(noc={"virtual_channels": 2, "packet_flits": 4, "level": "packet"})
    (warning,) = network_without_effect(config, ("packet level, within 3 %",))
    assert warning.startswith("noc.packet_flits has no effect")
    assert network_without_effect(config, ("flit level",)) == ()
    config = make_config(noc={"level": "flit", "contention": "none"})
    assert network_without_effect(config, ("no contention",)) == (
        "noc.level has no effect: noc.contention is none",
    )
