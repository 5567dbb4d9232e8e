"""Every policy through the battery, against each other, the optimum and the references."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from cimsim.errors import CimsimError
from moe_mapping import (
    Assignment,
    MappingProblem,
    Weights,
    evaluate,
    no_traffic,
    policies,
    register_policy,
    registry,
    solve,
)
from moe_mapping.balance import prune
from moe_mapping.layering import layer_counts
from moe_mapping.objective import lower_bound_ps, serial_bound_ps
from moe_mapping.plan import arrays_of, assignment_of, plan_of
from moe_mapping.policy.affinity import partition
from moe_mapping.policy.lpt import longest_first
from moe_mapping.separate import neighbours, separate
from moe_mapping.state import value
from moe_mapping.testing import KINDS, check_mapper, generated_case

DATA = Path(__file__).parent / "data"
Scaled = Callable[[int], int]

SEES = {
    "auto": "all",
    "affinity": "all",
    "annealing": "all",
    "local_search": "load",
    "compact": "load",
    "lpt": "load",
    "eplb": "load",
    "eplb_global": "load",
    "round_robin": "nothing",
    "random": "nothing",
}


@pytest.mark.parametrize("policy", SEES)
def test_policy_passes_the_battery(policy: str, scaled: Scaled) -> None:
    # The published method is for experts of one size.
    kinds = ("slots", "replicas", "traffic", "packed") if "eplb" in policy else KINDS
    check_mapper(policy, scaled(300), seed=3, kinds=kinds, sees=SEES[policy])


def test_exact_passes_the_battery_on_small_cases(scaled: Scaled) -> None:
    check_mapper("exact", scaled(60), kinds=("slots", "replicas"), most_units=4)


def test_hierarchical_passes_the_battery_of_its_own_problems() -> None:
    for seed in range(20):
        draw = np.random.default_rng(seed)
        case = slots(draw.gamma(0.8, 100.0, 16), devices=4, per_device=6)
        case = replace(case, group=np.arange(16) // 4, node=np.arange(4) // 2)
        found = solve(case, "eplb_hierarchical")
        case.check(found)
        assert found == solve(case, "eplb")
        for unit in range(16):  # a group never leaves its node
            nodes = {
                copy[0][0] // 2 for twin in range(4) for copy in found.copies[unit // 4 * 4 + twin]
            }
            assert len(nodes) == 1


def test_battery_notices_each_broken_rule() -> None:
    def first_tile(problem: MappingProblem, seed: int) -> Assignment:
        return Assignment(tuple((((0, int(x)),),) for x in problem.crossbars))

    def moody(problem: MappingProblem, seed: int) -> Assignment:
        moody.calls += 1
        return solve(problem, "random", moody.calls)

    def worst(problem: MappingProblem, seed: int) -> Assignment:
        draws = [solve(problem, "random", s) for s in range(30)]
        return max(draws, key=lambda found: evaluate(problem, found).value)

    moody.calls = 0
    with pytest.raises(CimsimError, match="short"):
        check_mapper(first_tile, 12)
    with pytest.raises(AssertionError, match="not deterministic"):
        check_mapper(moody, 12)
    with pytest.raises(AssertionError, match="x random placement"):
        check_mapper(worst, 12)


def slots(
    time_ps: np.ndarray, devices: int, per_device: int, traffic: np.ndarray | None = None
) -> MappingProblem:
    """Equal units on equal tiles of a mesh two tiles wide."""
    n = time_ps.size
    tile = np.arange(devices)
    hops = np.abs(tile[:, None] // 2 - tile // 2) + np.abs(tile[:, None] % 2 - tile % 2)
    return MappingProblem(
        units=tuple(range(n)),
        layer=np.zeros(n, dtype=int),
        crossbars=np.ones(n, dtype=int),
        time_ps=time_ps,
        replicable=np.ones(n, dtype=bool),
        traffic_bytes=no_traffic(n) if traffic is None else sparse.csr_array(traffic),
        capacity=np.full(devices, per_device),
        hops=hops,
        weights=Weights(replicas=0.0),
    )


def test_the_list_of_policies_is_there_before_and_after_one_ran() -> None:
    code = (
        "import moe_mapping as m; first = m.policies(); m.solve; import moe_mapping.table;"
        "assert m.policies() == first and first[0] == 'auto'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_policy_of_a_user_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    policies()
    monkeypatch.setattr(registry._POLICIES, "_members", dict(registry._POLICIES._members))

    @register_policy("backwards")
    def backwards(problem: MappingProblem, seed: int) -> Assignment:
        return solve(problem.reorder(np.arange(problem.n_units)[::-1]), "lpt", seed).reorder(
            np.arange(problem.n_units)[::-1]
        )

    case = generated_case(0, 0)
    assert "backwards" in policies()
    case.check(solve(case, "backwards"))
    with pytest.raises(CimsimError, match="registered already, by moe_mapping"):
        register_policy("lpt")(backwards)


@pytest.mark.parametrize("kind", KINDS)
def test_auto_is_never_worse_than_any_other_policy(kind: str, scaled: Scaled) -> None:
    for index in range(scaled(60)):
        case = generated_case(7, index, kind, most_units=12)
        best = evaluate(case, solve(case, "auto", 3)).value
        for policy in SEES:
            assert best <= evaluate(case, solve(case, policy, 3)).value * (1 + 1e-9), policy


def test_auto_is_within_one_percent_of_the_exact_optimum(scaled: Scaled) -> None:
    for index in range(scaled(100)):
        draw = np.random.default_rng(index)
        units, devices = int(draw.integers(2, 9)), int(draw.integers(2, 5))
        per_device = -(-units // devices) + int(draw.integers(0, 2))
        case = slots(draw.gamma(1.0, 100.0, units), devices, per_device)
        case = replace(case, replica_budget=min(case.budget, 2))
        best = evaluate(case, solve(case, "exact")).value
        assert evaluate(case, solve(case, "auto")).value <= best * 1.01
        assert evaluate(case, solve(case, "local_search")).value <= best * 1.05


def test_exact_finds_what_trying_everything_finds(scaled: Scaled) -> None:
    for index in range(scaled(60)):
        draw = np.random.default_rng(index)
        flow = np.triu(draw.random((5, 5)), 1)
        case = slots(draw.gamma(1.0, 100.0, 5), 4, 2, flow + flow.T)
        case = replace(case, replica_budget=0, weights=Weights(hop_bytes=0.5))
        best = min(
            evaluate(case, Assignment(tuple((((tile, 1),),) for tile in tiles))).value
            for tiles in product(range(4), repeat=5)
            if max(tiles.count(tile) for tile in range(4)) <= 2
        )
        assert evaluate(case, solve(case, "exact")).value == pytest.approx(best, rel=1e-6)
        assert evaluate(case, solve(case, "auto")).value <= best * 1.01


def test_exact_knows_layers(scaled: Scaled) -> None:
    for index in range(scaled(40)):
        draw = np.random.default_rng(index)
        case = slots(draw.gamma(1.0, 100.0, 5), 4, 2)
        case = replace(
            case, replica_budget=0, layer=np.array([0, 0, 1, 1, 1]), weights=Weights(layers=1.0)
        )
        best = min(
            evaluate(case, Assignment(tuple((((tile, 1),),) for tile in tiles))).value
            for tiles in product(range(4), repeat=5)
            if max(tiles.count(tile) for tile in range(4)) <= 2
        )
        assert evaluate(case, solve(case, "exact")).value == pytest.approx(best, rel=1e-6)
        assert evaluate(case, solve(case, "auto")).value <= best * 1.01


def test_auto_spreads_the_busy_experts_of_a_layer_over_tiles() -> None:
    # 4 layers of 16 experts on 20 tiles of four slots: room for one copy of every layer a
    # tile, with a quarter of the experts twice. Loads alone leave layers side by side.
    draw = np.random.default_rng(0)
    case = slots(draw.gamma(2.0, 100.0, 64), devices=20, per_device=4)
    case = replace(case, layer=np.repeat(np.arange(4), 16), weights=Weights(replicas=0.0))
    blind = replace(case, weights=Weights(layers=0.0, replicas=0.0))
    seeing, loads = (evaluate(case, solve(c, "auto")) for c in (case, blind))
    assert seeing.serial_ps < 1.1 * serial_bound_ps(case)
    assert seeing.serial_ps < 0.7 * loads.serial_ps
    assert seeing.slowest_tile_ps < 1.02 * lower_bound_ps(case)


@pytest.mark.parametrize("kind", KINDS)
def test_separating_layers_costs_nothing(kind: str) -> None:
    fewer = 0
    for index in range(20):
        case = generated_case(5, index, kind)
        fixed = arrays_of(case)
        plan = plan_of(fixed, solve(case, "local_search"))
        assert plan is not None
        before, beside = value(fixed, plan), neighbours(fixed, plan)
        separate(fixed, plan)
        after = assignment_of(fixed, plan)
        case.check(after)
        assert evaluate(case, after).value <= before * (1 + 1e-9)
        assert neighbours(fixed, plan) <= beside
        fewer += neighbours(fixed, plan) < beside
    assert fewer > 0 or kind == "traffic"  # where every exchange changes hop-bytes


def test_auto_finds_the_optimum_with_replicas_and_traffic_at_once() -> None:
    for index in range(5):
        draw = np.random.default_rng(index)
        flow = np.triu(draw.random((3, 3)), 1)
        case = slots(draw.gamma(1.0, 100.0, 3), 3, 2, flow + flow.T)
        subsets = [s for s in product((0, 1), repeat=3) if any(s)]
        best = np.inf
        for choice in product(subsets, repeat=3):
            if max(sum(unit[t] for unit in choice) for t in range(3)) > 2:
                continue
            copies = tuple(tuple(((t, 1),) for t in range(3) if unit[t]) for unit in choice)
            best = min(best, evaluate(case, Assignment(copies)).value)
        assert evaluate(case, solve(case, "auto")).value <= best * 1.01


def hop_problem(name: str) -> tuple[MappingProblem, np.ndarray]:
    data = np.load(DATA / f"coactivation_{name}.npz", allow_pickle=False)
    case = MappingProblem(
        units=tuple(range(64)),
        layer=np.zeros(64, dtype=int),
        crossbars=np.ones(64, dtype=int),
        time_ps=data["load"],
        replicable=np.zeros(64, dtype=bool),
        traffic_bytes=sparse.csr_array(data["coact"]),
        capacity=np.ones(64, dtype=int),
        hops=data["hops"].astype(int),
    )
    return case, data["coact"]


@pytest.mark.parametrize(
    ("name", "annealed", "random"),
    [
        ("weak", 499_119, 610_379.3),
        ("medium", 439_994, 612_019.7),
        ("strong", 314_259, 611_534.7),
    ],
)
def test_hop_placement_reaches_the_reference_annealing(
    name: str, annealed: float, random: float
) -> None:
    case, coact = hop_problem(name)
    found = solve(case, "auto")
    score = evaluate(case, found)
    tile = np.array([copies[0][0][0] for copies in found.copies])
    assert score.hop_bytes == pytest.approx(np.triu(coact * case.hops[np.ix_(tile, tile)]).sum())
    assert score.hop_bytes <= annealed * 1.002
    assert round(score.hop_bytes / random, 2) <= round(annealed / random, 2)


@pytest.mark.parametrize(("name", "kept"), [("weak", 0.065), ("medium", 0.15), ("strong", 0.31)])
def test_partition_keeps_coactivation_inside_tiles(name: str, kept: float) -> None:
    _, coact = hop_problem(name)
    tile = np.arange(16)
    hops = np.abs(tile[:, None] // 4 - tile // 4) + np.abs(tile[:, None] % 4 - tile % 4)
    case = MappingProblem(
        units=tuple(range(64)),
        layer=np.zeros(64, dtype=int),
        crossbars=np.ones(64, dtype=int),
        time_ps=np.ones(64),
        replicable=np.zeros(64, dtype=bool),
        traffic_bytes=sparse.csr_array(coact),
        capacity=np.full(16, 4),
        hops=hops,
    )
    plan = longest_first(case, arrays_of(case), 0)
    partition(case, arrays_of(case), plan)
    home = plan.site[:, 0]
    assert (np.bincount(home) == 4).all()
    inside = (coact * (home[:, None] == home)).sum() / coact.sum()
    assert inside >= kept  # METIS keeps 5.4, 8.5 and 18.5 %


@pytest.mark.parametrize(("size", "capacity", "tiles"), [(7, 4, 24), (6, 10, 8), (40, 8, 60)])
def test_copies_cross_tiles_where_they_must_and_fill_the_chip(
    size: int, capacity: int, tiles: int
) -> None:
    units = tiles * capacity // size
    draw = np.random.default_rng(size)
    case = MappingProblem(
        units=tuple(range(units)),
        layer=np.zeros(units, dtype=int),
        crossbars=np.full(units, size),
        time_ps=draw.gamma(1.0, 100.0, units),
        replicable=np.ones(units, dtype=bool),
        traffic_bytes=no_traffic(units),
        capacity=np.full(tiles, capacity),
        hops=1 - np.eye(tiles, dtype=int),
    )
    for policy in SEES:
        case.check(solve(case, policy))


def test_round_robin_fills_spare_crossbars_with_replicas_in_index_order() -> None:
    case = slots(np.arange(1.0, 7.0), devices=4, per_device=2)
    found = solve(case, "round_robin")
    assert [copies[0] for copies in found.copies[2:]] == [
        ((2, 1),), ((3, 1),), ((0, 1),), ((1, 1),)
    ]  # fmt: skip
    assert found.copies[0] == (((0, 1),), ((2, 1),))
    assert found.copies[1] == (((1, 1),), ((3, 1),))


def test_unknown_policy_names_the_nearest() -> None:
    with pytest.raises(CimsimError, match="did you mean 'annealing'"):
        solve(slots(np.ones(2), 2, 1), "anealing")
    assert set(SEES) < set(policies())


def attention_and_experts() -> MappingProblem:
    """Four busy units of 64 crossbars and 256 experts of 12 on forty tiles of 96."""
    experts = np.random.default_rng(0).gamma(3.0, 40.0, 256)
    return MappingProblem(
        units=tuple(range(260)),
        layer=np.zeros(260, dtype=int),
        crossbars=np.array([64] * 4 + [12] * 256),
        time_ps=np.concatenate([[1600.0] * 4, experts]),
        replicable=np.ones(260, dtype=bool),
        traffic_bytes=no_traffic(260),
        capacity=np.full(40, 96),
        hops=1 - np.eye(40, dtype=int),
    )


def test_compaction_frees_whole_tiles_for_copies_of_large_units() -> None:
    # 256 experts fill 32 tiles; eight are left, two for every large unit. Local search
    # spreads experts over all forty, where a second copy of 64 crossbars finds no room.
    case = attention_and_experts()
    spread, found = solve(case, "local_search"), solve(case, "compact")
    assert [len(copies) for copies in spread.copies[:4]] == [1] * 4
    assert [len(copies) for copies in found.copies[:4]] == [2] * 4
    assert evaluate(case, spread).slowest_tile_ps == 1600.0
    assert evaluate(case, found).slowest_tile_ps < 1.25 * lower_bound_ps(case)
    assert evaluate(case, solve(case, "auto")).value <= evaluate(case, found).value


def test_compaction_respects_the_replica_budget() -> None:
    case = replace(attention_and_experts(), replica_budget=130)
    found = solve(case, "compact")
    case.check(found)
    assert 0 < evaluate(case, found).replica_crossbars <= 130


def test_exact_refuses_what_is_too_large() -> None:
    with pytest.raises(CimsimError, match="too large for exact placement"):
        solve(slots(np.ones(64), 16, 8), "exact")


def test_replicas_for_layers_go_where_a_layer_gets_shorter() -> None:
    # Layer 0: 90 and 10; layer 1: 60 and 58. Two replicas: the first halves 90; then a copy
    # of 60 would save 2 and one more of 90 saves 15.
    case = slots(np.array([90.0, 10.0, 60.0, 58.0]), devices=6, per_device=1)
    case = replace(case, layer=np.array([0, 0, 1, 1]))
    assert layer_counts(arrays_of(case)).tolist() == [3, 1, 1, 1]
    assert layer_counts(arrays_of(replace(case, replica_budget=1))).tolist() == [2, 1, 1, 1]
    fixed = arrays_of(replace(case, replicable=np.array([False, True, True, True])))
    assert layer_counts(fixed).tolist() == [1, 1, 2, 2]


def test_pruning_tries_every_copy() -> None:
    # Of unit 1's copies the one on the tile of unit 0 slows that down; the other is enough.
    case = replace(slots(np.array([5.0, 4.0]), devices=2, per_device=2), replica_budget=1)
    case = replace(case, weights=Weights(replicas=0.1))
    plan = plan_of(arrays_of(case), Assignment((((((0, 1),),)), (((0, 1),), ((1, 1),)))))
    assert plan is not None
    plan.site[1, :2] = (1, 0)  # the copy that stays comes first in the list
    prune(arrays_of(case), plan)
    assert assignment_of(arrays_of(case), plan).copies == ((((0, 1),),), (((1, 1),),))


def test_of_equally_busy_sites_the_hottest_unit_takes_the_one_shared_least() -> None:
    # Three tiles of three crossbars hold three units of two and, across two tiles, a fourth.
    case = replace(slots(np.array([1.0, 2.0, 9.0, 3.0]), 3, 3), crossbars=np.full(4, 2))
    found = solve(replace(case, replica_budget=0), "lpt")
    assert max(len(copies[0]) for copies in found.copies) == 2  # one unit crosses tiles
    crossed = {tile for copies in found.copies if len(copies[0]) == 2 for tile, _ in copies[0]}
    assert len(found.copies[2][0]) == 1 and found.copies[2][0][0][0] not in crossed
