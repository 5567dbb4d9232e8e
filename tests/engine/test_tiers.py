"""Tiers of a tile: read one at a time, switched in between, on one footprint."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from cimsim.chip import Seat, pe_numbers, tier_numbers
from cimsim.chip.system import build_system, seats_in_order
from cimsim.chip.units import analog_units
from cimsim.config import ChipConfig
from cimsim.config.load import find_chip, load_chip
from cimsim.cost import CostModel
from cimsim.engine import CorrectionWork, EngineResult, simulate
from cimsim.engine.build import build_plan
from cimsim.engine.events.compiled import run_compiled
from cimsim.engine.events.simpy_loop import run_simpy
from cimsim.engine.plan import Plan
from cimsim.engine.raw import VISIT_FIELDS, RawRun
from cimsim.engine.tiers import tiers_by_tile
from cimsim.errors import CimsimError
from cimsim.stages.placing import place
from cimsim.workload.shapes import build_shape
from moe_mapping.objective import layer_times_ps
from moe_mapping.registry import solve
from tests.engine.chips import FakeCost, System, make_config, make_shape, make_system, make_trace
from tests.twins.events.reference import run_reference

INTERVAL_PS = 100_000 + 6  # of FakeCost, of an expert of six crossbars
SWITCH_PS = 7_000


def stacked(tiers: int, **tile: object) -> System:
    """One layer of two experts that every token visits, six crossbars each; no other matrix."""
    config = make_config(
        chip={"analog_parts": ["experts"], "spare_fraction": 0.0},
        memory={"kind": "none"},
        noc={"level": "packet"},
        digital={"units": 1, "weight_sram_kb": 4096, "kv_sram_kb": 4096},
        tile={"pes": 1, "pe": {"crossbars": 6}, "tiers": tiers, "tier_switch_ns": 7.0, **tile},
    )
    shape = make_shape(layers=1, experts=2, top_k=2)
    cost = FakeCost(element_ps=0)
    system = make_system(shape=shape, config=config, cost=cost, sequences=1, length=1)
    first = replace(system.trace, experts=np.array([[[0, 1]]], dtype=np.int16))
    return replace(system, trace=first)


def run(system: System) -> EngineResult:
    return simulate(system, system.trace, phase="decode", batch=1, engine="compiled")


def moved(system: System, crossbars: dict[int, range]) -> System:
    """The same with experts on other crossbars."""
    seats = tuple(
        Seat(s.unit, s.replica, crossbars.get(s.unit.expert, s.crossbars))
        for s in system.placement.seats
    )
    return replace(system, placement=replace(system.placement, seats=seats))


def queue_ps(system: System) -> int:
    result = run(system)
    return int(result.parts_ps[0, result.parts.index("queue")])


def test_experts_on_one_stack_are_read_one_after_another_with_a_switch_between() -> None:
    one = stacked(2)
    assert one.mesh.n_tiles == 1
    assert queue_ps(one) == INTERVAL_PS + SWITCH_PS
    assert run(one).counts.tier_switches == 1


def test_a_second_token_finds_the_tier_that_the_first_one_left() -> None:
    trace = make_trace(stacked(2).program, 1, 3)
    result = simulate(stacked(2), trace, phase="decode", batch=1, engine="compiled")
    # 0 1 | 0 1 | 0 1, or 1 0 where a token asks for that expert first.
    first = trace.experts[:, 0, 0].tolist()
    order = [e for f in first for e in (f, 1 - f)]
    assert result.counts.tier_switches == sum(a != b for a, b in pairwise([0, *order]))


def test_experts_on_one_tier_of_a_tile_are_read_together() -> None:
    both = {"pes": 2, "pe": {"crossbars": 6}}
    assert queue_ps(stacked(2, **both)) == 0  # crossbars 0 to 5 and 6 to 11 of tier 0
    # Expert 1 over the other PE, on tier 1: drivers and converters are free, its tier is not.
    apart = moved(stacked(2, **both), {1: range(18, 24)})
    assert queue_ps(apart) == INTERVAL_PS + SWITCH_PS


def test_a_copy_that_spans_tiers_of_a_tile_takes_them_in_turn() -> None:
    whole, spread = stacked(1), stacked(3, pe={"crossbars": 2})
    assert spread.mesh.n_tiles == 2
    plan = lower(spread)
    assert plan.sites.tier_turns.tolist() == [3, 3]
    assert plan.sites.interval_ps.tolist() == [3 * INTERVAL_PS] * 2
    assert plan.sites.fill_ps.tolist() == [5_000 + 3 * SWITCH_PS] * 2
    assert lower(whole).sites.interval_ps.tolist() == [INTERVAL_PS] * 2
    assert run(spread).counts.tier_switches == 6


def lower(system: System, phase: str = "decode", batch: int = 1) -> Plan:
    return build_plan(system, system.trace, phase=phase, batch=batch, correction=CorrectionWork())


def check_law(plan: Plan, raw: RawRun) -> int:
    """No two tiers of a tile are read at once, and a switch lies between them; count switches."""
    at = {name: i for i, name in enumerate(VISIT_FIELDS)}
    readings: dict[int, list[tuple[int, int, int, bool]]] = {}
    for row in raw.visits:
        site = int(row[at["site"]])
        tiles = range(plan.sites.tile_ptr[site], plan.sites.tile_ptr[site + 1])
        for t in tiles:
            alone = bool(plan.sites.tier_turns[t])
            span = (int(row[at["start_ps"]]), int(row[at["taken_ps"]]))
            tile = int(plan.sites.tiles[t])
            readings.setdefault(tile, []).append((*span, int(plan.sites.tier[t]), alone))
    switches = 0
    for found in readings.values():
        for i, (start, _, tier, alone) in enumerate(found):
            for _, end, other, other_alone in found[:i]:
                gap = plan.tier_switch_ps if other != tier else 0
                if other != tier or alone or other_alone:
                    assert start >= end + (gap if found[i - 1][2] != tier else 0)
        switches += sum(a != b for a, b in pairwise([0, *(r[2] for r in found)]))
    return switches


@pytest.mark.parametrize("seed", range(8))
def test_both_schedulers_and_the_twin_agree_and_keep_the_law(seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = make_config(
        tile={
            "pes": int(rng.integers(1, 3)), "pe": {"crossbars": int(rng.integers(1, 5))},
            "crossbar": {"rows": 64, "cols": 256}, "tiers": 2 + seed % 3,
            "tier_switch_ns": (0.0, 40.0)[seed % 2],
        },
        noc={"level": "packet"},
        workload={"in_flight": 4},
    )  # fmt: skip
    system = make_system(config=config, sequences=4, length=8, copies=1 + seed % 2, seed=seed)
    for phase in ("prefill", "decode"):
        plan = lower(system, phase, 4)
        slow, fast, simpy = run_reference(plan), run_compiled(plan, record=True), run_simpy(plan)
        for raw in (fast, simpy):
            assert np.array_equal(slow.done_ps, raw.done_ps)
            assert np.array_equal(slow.tier_switches, raw.tier_switches)
        counted = check_law(plan, simpy)
        inside = (simpy.site_visits * np.add.reduceat(
            plan.sites.tier_turns, plan.sites.tile_ptr[:-1])).sum()  # fmt: skip
        assert int(simpy.tier_switches.sum()) == counted + int(inside)


def test_crossbars_are_numbered_tier_by_tier_over_shared_pes() -> None:
    tile = make_config(tile={"pes": 2, "pe": {"crossbars": 2}, "tiers": 3}).tile
    assert tile.crossbars == 4
    assert tile.stacked_crossbars == 12
    assert pe_numbers(range(14), tile).tolist() == [0, 0, 1, 1] * 3 + [2, 2]
    assert tier_numbers(range(14), tile).tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [0] * 2
    lowest, count = tiers_by_tile([2, 3, 4, 17, 18], tile)
    assert (lowest.tolist(), count.tolist()) == ([0, 1], [2, 1])


# ---------------------------------------------------------------------- whole chips


def isaac(*overrides: str) -> ChipConfig:
    return load_chip(find_chip("isaac"), ("tile.pes=1", *overrides))


def placed(config: ChipConfig, shape: object = None):  # type: ignore[no-untyped-def]
    program = build_shape(make_shape(layers=2, experts=8, top_k=2))
    units = analog_units(program, config)
    mesh = build_system(config, units)
    cost = CostModel(config, mesh, program, units=units)
    trace = make_trace(program, 4, 16)
    return mesh, cost, place(config, mesh, program, units, cost, trace)


def test_stacking_holds_as_many_times_the_weights_on_the_same_footprint() -> None:
    flat, _, _ = placed(isaac("chip.tiles=fit"))
    mesh, cost, _ = placed(isaac("chip.tiles=fit", "tile.tiers=4"))
    assert mesh.n_tiles == -(-flat.n_tiles // 4)
    assert mesh.crossbars_per_tile == 4 * flat.crossbars_per_tile
    tile = CostModel(isaac(), flat, None).catalogue.tile_um2
    assert cost.catalogue.tile_um2 == tile


def test_mapping_knows_that_experts_on_one_stack_collide() -> None:
    """Beside the time of attention, experts that share a stack would cost nothing."""
    tile = ("tile.tiers=4", "tile.tier_switch_ns=200")
    config = isaac("chip.tiles=8", "mapping.replicas=false", "mapping.policy=auto", *tile)
    problem = placed(config)[2].problem
    assert problem is not None
    layers = replace(problem, layer=np.array([key.layer for key in problem.units]))
    blind, knowing = (solve(p, "auto", 0) for p in (layers, problem))
    of_experts = [2 * layer + 1 for layer in range(2)]
    assert set(of_experts) < set(problem.layer.tolist())
    slowest = [
        layer_times_ps(problem, found)[of_experts].max(axis=1).sum() for found in (blind, knowing)
    ]
    assert slowest[1] < 0.9 * slowest[0]


def test_in_order_the_first_tier_of_all_tiles_is_filled_first() -> None:
    config = isaac("tile.tiers=2", "tile.pe.crossbars=4", "chip.tiles=16")
    units = analog_units(build_shape(make_shape(layers=2, experts=8, top_k=2)), config)
    mesh = build_system(config, units)
    seats = seats_in_order(config, mesh, units)
    found = [c for seat in seats for c in seat.crossbars]
    # 16 tiles of 4 crossbars: 0 to 3 of tile 0, then tile 1, which begins at 8; 114 in all.
    assert found[:6] == [0, 1, 2, 3, 8, 9]
    assert found[64:69] == [4, 5, 6, 7, 12]
    assert len(set(found)) == len(found) == 114


def test_a_part_of_a_copy_lies_on_one_tier_where_one_has_room() -> None:
    config = isaac("chip.tiles=4", "tile.tiers=4")
    _, _, solved = placed(config)
    for seats in solved.placement.seats_of.values():
        for seat in seats:
            tiles = np.array(seat.crossbars) // config.tile.stacked_crossbars
            for tile in np.unique(tiles):
                on = np.array(seat.crossbars)[tiles == tile]
                if len(on) <= config.tile.crossbars // 2:
                    assert len(np.unique(tier_numbers(on.tolist(), config.tile))) <= 2


@pytest.mark.parametrize(
    ("overrides", "said", "key"),
    [
        (
            ("chip.tiles=1", "chip.switching=lru", "tile.tiers=2"),
            "programmed on demand",
            "tile.tiers",
        ),
        (("tile.tiers=0",), "greater than or equal to 1", "tile.tiers"),
    ],
)
def test_what_tiers_cannot_do_is_refused_by_name(
    overrides: tuple[str, ...], said: str, key: str
) -> None:
    with pytest.raises(CimsimError, match=said) as refused:
        placed(isaac("tile.pe.crossbars=4", *overrides))
    assert refused.value.key == key


def test_the_flit_level_is_refused_and_not_chosen() -> None:
    system = stacked(2)
    flit = replace(system, config=system.config.model_copy(
        update={"noc": system.config.noc.model_copy(update={"level": "flit"})}))  # fmt: skip
    with pytest.raises(CimsimError, match="tiers of tiles are modelled at the packet level"):
        simulate(flit, flit.trace, phase="decode", batch=1, engine="simpy")
