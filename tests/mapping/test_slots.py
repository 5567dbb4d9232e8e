"""Expert slots: reference instances, EPLB's own figures, bad input."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cimsim.errors import CimsimError
from moe_mapping import place_slots
from moe_mapping.slots import SlotShape

DATA = Path(__file__).parent / "data"
INSTANCES = list(csv.DictReader((DATA / "eplb_reference.csv").open(encoding="utf-8")))
IDS = [line["instance"] for line in INSTANCES]


def loads_of(line: dict[str, str]) -> np.ndarray:
    return np.loadtxt(DATA / "loads" / f"{line['instance']}.csv", delimiter=",", ndmin=2)


def shape_of(line: dict[str, str]) -> dict[str, int]:
    return {name: int(line[name]) for name in ("slots", "groups", "nodes", "devices")}


@pytest.mark.parametrize("line", INSTANCES, ids=IDS)
def test_eplb_gives_the_figures_of_the_published_program(line: dict[str, str]) -> None:
    loads, shape = loads_of(line), shape_of(line)
    balance = place_slots(loads, **shape, policy="eplb").balance
    assert balance.mean() == pytest.approx(float(line["eplb_mean"]), abs=1e-5)
    assert balance.min() == pytest.approx(float(line["eplb_min"]), abs=1e-5)
    assert balance.max() == pytest.approx(float(line["eplb_max"]), abs=1e-5)
    anywhere = place_slots(loads, **shape, policy="eplb_global").balance
    assert anywhere.mean() == pytest.approx(float(line["eplb_global_mean"]), abs=1e-5)


@pytest.mark.parametrize("line", INSTANCES, ids=IDS)
def test_auto_is_never_above_eplb_and_below_it_where_there_are_replicas(
    line: dict[str, str],
) -> None:
    plan = place_slots(loads_of(line), **shape_of(line))
    eplb = min(float(line["eplb_mean"]), float(line["eplb_global_mean"]))
    balance = float(plan.balance.mean())
    assert balance <= eplb + 1e-5
    if int(line["slots"]) > int(line["experts"]):
        assert balance < eplb - 1e-3
        assert plan.balance[0] <= float(line["localsearch_layer0"]) + 1e-5
    assert balance <= 1.005 * float(line["lower_bound_mean"])
    assert plan.duplicates(int(line["devices"])) == 0


def test_worked_example_of_eplb_is_reproduced_and_improved() -> None:
    loads = [[600, 560, 120, 120, 20, 10, 10, 10]]
    eplb = place_slots(loads, 16, devices=8, policy="eplb").balance[0]
    assert eplb == pytest.approx(1.28, abs=0.005)
    assert place_slots(loads, 16, devices=8).balance[0] < eplb


@given(
    st.integers(1, 12), st.integers(1, 6), st.integers(0, 6), st.integers(0, 1000), st.booleans()
)
def test_every_slot_is_filled_and_both_maps_agree(
    experts: int, devices: int, more: int, seed: int, equal: bool
) -> None:
    per_device = -(-experts // devices) + more
    slots = per_device * devices
    draw = np.random.default_rng(seed)
    loads = np.ones((2, experts)) if equal else draw.gamma(0.8, 100.0, (2, experts)) + 1
    plan = place_slots(loads, slots, devices=devices, policy="local_search")
    assert plan.phy2log.min() >= 0
    for layer in range(2):
        counts = np.bincount(plan.phy2log[layer], minlength=experts)
        assert counts.min() >= 1
        assert (counts == plan.replicas[layer]).all()
        for expert in range(experts):
            mine = plan.log2phy[layer, expert, : counts[expert]]
            assert (plan.phy2log[layer, mine] == expert).all()
            assert (plan.log2phy[layer, expert, counts[expert] :] == -1).all()
        share = loads[layer] / plan.replicas[layer]
        device = share[plan.phy2log[layer]].reshape(devices, -1).sum(axis=1)
        assert plan.balance[layer] == pytest.approx(device.max() / device.mean())
    if per_device <= experts:
        assert plan.duplicates(devices) == 0


def test_equal_loads_are_spread_evenly_and_a_single_expert_is_fine() -> None:
    assert place_slots(np.ones((3, 16)), 16, devices=4).balance == pytest.approx(1.0)
    alone = place_slots([[7.0]], 1)
    assert alone.balance[0] == 1.0
    assert place_slots([[7.0]], 4, devices=4).balance[0] == pytest.approx(1.0)
    assert place_slots([[7.0]], 4, devices=2).balance[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("loads", "message"),
    [
        ([[1.0, np.nan]], "expert 1 in layer 0 is not a finite number"),
        ([[1.0, 2.0], [3.0, -4.0]], "expert 1 in layer 1 is negative"),
        ([[1.0, 2.0], [0.0, 0.0]], "all loads of layer 1 are zero"),
        ([1.0, 2.0], "a row per layer and a column per expert"),
        ([[]], "a row per layer and a column per expert"),
        ([["x", "y"]], "must be numbers"),
    ],
)
def test_loads_that_make_no_sense_are_named(loads: list, message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        place_slots(loads, 2)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (SlotShape(60), "64 experts need at least 64 slots and 60 are available: 4 short"),
        (SlotShape(80, devices=7), "80 slots do not divide evenly over 7 devices"),
        (SlotShape(64, groups=3), "64 experts do not divide evenly over 3 groups"),
        (SlotShape(64, nodes=3, devices=4), "4 devices do not divide evenly over 3 nodes"),
        (SlotShape(64, 2, 4, 4), "2 groups do not divide evenly over 4 nodes"),
        (SlotShape(64, devices=0), "devices must be at least 1"),
    ],
)
def test_slots_that_do_not_divide_are_named(shape: SlotShape, message: str) -> None:
    with pytest.raises(CimsimError, match=message):
        shape.check(64)
