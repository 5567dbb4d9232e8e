"""The mapping problem's border, and the objective by hand and against its fast twin."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from cimsim.errors import CimsimError
from moe_mapping import Assignment, MappingProblem, Weights, evaluate, lower_bound_ps, solve
from moe_mapping.objective import scale_of, serial_bound_ps
from moe_mapping.plan import arrays_of, assignment_of, plan_of
from moe_mapping.policy.annealing import cool_down
from moe_mapping.state import value
from moe_mapping.testing import KINDS, generated_case


def problem(**changes: object) -> MappingProblem:
    """Three units on two tiles one hop apart; unit c is larger than a tile."""
    traffic = np.array([[0, 10, 0], [10, 0, 4], [0, 4, 0]], dtype=float)
    base = {
        "units": ("a", "b", "c"),
        "layer": np.array([0, 0, 1]),
        "crossbars": np.array([2, 1, 5]),
        "time_ps": np.array([100.0, 60.0, 40.0]),
        "replicable": np.array([True, True, False]),
        "traffic_bytes": sparse.csr_array(traffic),
        "capacity": np.array([4, 6]),
        "hops": np.array([[0, 3], [3, 0]]),
    }
    return MappingProblem(**(base | changes))


def test_objective_has_the_values_computed_by_hand() -> None:
    weights = Weights(time=2.0, layers=0.7, hop_bytes=0.5, replicas=0.1, migration=0.0)
    # a and b on tile 0; a second copy of b and all of c on tile 1.
    found = Assignment((((((0, 2),)),), (((0, 1),), ((1, 1),)), (((1, 5),),)))
    case = problem(weights=weights)
    score = evaluate(case, found)
    assert score.slowest_tile_ps == 100 + 30
    # Layer 0 is slowest on tile 0, layer 1 (all of c) on tile 1.
    assert score.serial_ps == 130 + 40
    assert score.even_tile_ps == (100 + 30 + 30 + 40) / 2
    # a-b: half the traffic crosses 3 hops; b-c: half of b is beside c.
    assert score.hop_bytes == pytest.approx(10 * 0.5 * 3 + 4 * 0.5 * 3)
    assert score.replica_crossbars == 1
    even, random_hop_bytes = 200 / 2, 14 * 3
    expected = 2.0 * 130 / even + 0.7 * 170 / (100 + 40) + 0.5 * 21 / random_hop_bytes + 0.1 * 1 / 8
    assert score.value == pytest.approx(expected)


def test_a_chip_without_load_has_no_balance() -> None:
    case = problem(time_ps=np.zeros(3))
    assert evaluate(case, solve(case, "round_robin")).balance is None
    assert evaluate(problem(), solve(problem(), "round_robin")).balance is not None


def test_all_tiles_of_a_split_copy_are_busy_for_the_whole_visit() -> None:
    found = Assignment((((((0, 2),)),), (((0, 1),),), (((0, 1), (1, 4)),)))
    score = evaluate(problem(), found)
    assert score.slowest_tile_ps == 200
    # c sits to one fifth beside b, to four fifths 3 hops away.
    assert score.hop_bytes == pytest.approx(4 * 0.8 * 3)


def test_rewritten_crossbars_count_only_what_is_not_there_yet() -> None:
    now = Assignment((((((0, 2),)),), (((0, 1),),), (((0, 1), (1, 4)),)))
    new = Assignment((((((0, 2),)),), (((1, 1),),), (((1, 5),),)))
    case = problem(current=now)
    assert evaluate(case, new).rewritten_crossbars == 1 + 1
    assert evaluate(case, now).rewritten_crossbars == 0
    assert new.moves(now) == 2


def test_too_few_crossbars_are_named_with_the_exact_shortfall() -> None:
    with pytest.raises(CimsimError, match="needs 8 crossbars and the chip has 7: 1 short"):
        problem(capacity=np.array([4, 3]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time_ps": np.array([1.0, np.nan, 1.0])}, "unit b is not a finite number"),
        ({"time_ps": np.array([1.0, -1.0, 1.0])}, "too small"),
        ({"crossbars": np.array([2, 0, 5])}, "too small"),
        ({"layer": np.array([0, 0])}, "wrong shape"),
        ({"units": ("a", "a", "c")}, "same name"),
        ({"hops": np.array([[0, 3], [2, 0]])}, "same both ways"),
        ({"traffic_bytes": sparse.csr_array(np.triu(np.ones((3, 3))))}, "same both ways"),
        ({"replica_budget": -1}, ">= 0"),
    ],
)
def test_bad_problems_are_refused_in_one_sentence(changes: dict, message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        problem(**changes)


@pytest.mark.parametrize("at", [(0, 1), (600, 3), (601, 600), (1100, 1099)])
def test_hops_that_differ_on_the_way_back_are_found_wherever_they_are(at: tuple[int, int]) -> None:
    tiles = np.arange(1101)
    hops = np.abs(tiles[:, None] - tiles).astype(np.int16)
    capacity = np.full(1101, 6)
    assert problem(hops=hops, capacity=capacity).hops.dtype == np.int16
    hops[at] += 1
    with pytest.raises(CimsimError, match="the same both ways"):
        problem(hops=hops, capacity=capacity)


@pytest.mark.parametrize("kind", KINDS)
def test_a_problem_in_another_order_is_the_one_made_in_that_order(kind: str) -> None:
    case = generated_case(0, 3, kind)
    order = np.random.default_rng(1).permutation(case.n_units)
    found, before = case.reorder(order), case.traffic_bytes.toarray()
    made = replace(
        case,
        units=tuple(case.units[i] for i in order),
        **{n: getattr(case, n)[order] for n in ("layer", "crossbars", "time_ps", "replicable")},
        traffic_bytes=case.traffic_bytes[order][:, order],
        current=None if case.current is None else case.current.reorder(order),
        group=None if case.group is None else case.group[order],
    )
    for name in MappingProblem.__dataclass_fields__:
        ours, theirs = getattr(found, name), getattr(made, name)
        if sparse.issparse(ours):
            for part in ("indptr", "indices", "data"):
                np.testing.assert_array_equal(getattr(ours, part), getattr(theirs, part))
        elif isinstance(ours, np.ndarray):
            assert not ours.flags.writeable
            np.testing.assert_array_equal(ours, theirs)
        else:
            assert ours == theirs
    np.testing.assert_array_equal(case.traffic_bytes.toarray(), before)


def test_weights_must_be_numbers_that_are_not_negative() -> None:
    with pytest.raises(CimsimError, match=r"mapping\.weights\.time"):
        Weights(time=-1.0)


@pytest.mark.parametrize(
    ("copies", "message"),
    [
        (((), (((0, 1),),), (((1, 5),),)), "unit a is not placed"),
        (((((0, 2),),), (((0, 1),),), (((1, 5),), ((0, 5),))), "may have only one"),
        (((((0, 1),),), (((0, 1),),), (((1, 5),),)), "needs 2 crossbars and is given 1"),
        (((((0, 2),),), (((2, 1),),), (((1, 5),),)), "does not exist"),
        (((((1, 2),),), (((0, 1),),), (((1, 5),),)), "tile 1 needs 7 crossbars and has 6"),
    ],
)
def test_impossible_assignments_are_named(copies: tuple, message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        problem().check(Assignment(copies))


@given(st.integers(0, 10_000), st.sampled_from(KINDS), st.booleans())
def test_moves_keep_the_objective_that_the_equations_give(
    index: int, kind: str, with_current: bool
) -> None:
    case = generated_case(1, index, kind)
    if with_current:
        case = replace(case, current=solve(case, "random", 5))
    found = solve(case, "local_search", 0)
    plan = plan_of(arrays_of(case), found)
    assert plan is not None
    annealed = cool_down(arrays_of(case), plan, 0)
    for twin in (plan, annealed):
        slow = evaluate(case, assignment_of(arrays_of(case), twin))
        assert value(arrays_of(case), twin) == pytest.approx(slow.value, rel=1e-9)


@given(st.integers(0, 10_000), st.sampled_from(KINDS))
def test_no_policy_beats_the_bound(index: int, kind: str) -> None:
    case = generated_case(2, index, kind)
    bound = lower_bound_ps(case)
    for policy in ("auto", "eplb", "random"):
        assert evaluate(case, solve(case, policy)).slowest_tile_ps >= bound * (1 - 1e-9)


@given(st.integers(0, 10_000), st.sampled_from(KINDS))
def test_no_policy_beats_the_bound_of_layers_one_after_another(index: int, kind: str) -> None:
    case = generated_case(2, index, kind)
    bound = serial_bound_ps(case)
    layers = replace(case, weights=Weights(time=0.0, layers=1.0, hop_bytes=0.0))
    assert bound > 0
    for policy in ("auto", "eplb", "random"):
        assert evaluate(layers, solve(layers, policy)).serial_ps >= bound * (1 - 1e-9)


def test_bound_of_layers_spends_the_replica_budget_where_it_saves_most() -> None:
    # Layer 0: a alone for 100, the next is b (60). Layer 1: c alone for 40. A copy of a
    # takes two crossbars and saves 40, one of b would save nothing before that.
    case = problem(capacity=np.array([6, 6]), replica_budget=2)
    assert serial_bound_ps(replace(case, replica_budget=0)) == pytest.approx(100 + 40)
    assert serial_bound_ps(case) == pytest.approx(80 + 40)  # two tiles share 160


def test_a_single_layer_is_not_charged_twice() -> None:
    case = problem(layer=np.zeros(3))
    assert scale_of(case).per_layer_ps == 0.0
    found = solve(case)
    assert evaluate(case, found).serial_ps == evaluate(case, found).slowest_tile_ps


def test_bound_is_the_even_spread_or_the_unit_that_may_not_be_split() -> None:
    assert lower_bound_ps(problem(replica_budget=0)) == pytest.approx(100.0)
    assert lower_bound_ps(problem(replica_budget=0, time_ps=np.ones(3))) == pytest.approx(1.5)


def test_scale_makes_weights_mean_the_same_on_every_chip() -> None:
    case = problem()
    longer = problem(time_ps=case.time_ps * 1000, traffic_bytes=case.traffic_bytes * 7)
    assert scale_of(longer).per_ps * 1000 == pytest.approx(scale_of(case).per_ps)
    assert evaluate(longer, solve(longer)).value == pytest.approx(evaluate(case, solve(case)).value)
