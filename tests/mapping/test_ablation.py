"""The ablation counts wins and ties as they are, and leaves out what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cimsim.bench.mapping_ablation import ablate_parts, ablate_policies, reference_problems
from cimsim.cli.bench import register
from cimsim.cli.entry import new_app
from cimsim.errors import CimsimError
from moe_mapping import evaluate, lower_bound_ps, policies, solve
from moe_mapping.plan import arrays_of, assignment_of
from moe_mapping.policy.local_search import PARTS, search
from moe_mapping.slots import SlotShape, layer_problem

DATA = Path(__file__).parent / "data"
SKEWED = layer_problem(np.array([9.0, 3.0, 2.0, 1.0]), SlotShape(8, devices=4))
EVEN = layer_problem(np.array([1.0, 1.0]), SlotShape(2, devices=2))


def test_ties_count_as_best_and_not_as_alone() -> None:
    found = {row["policy"]: row for row in ablate_policies([SKEWED, EVEN])}
    assert set(found) == {*policies(), "remap"}
    assert found["auto"]["best"] == found["local_search"]["best"] == 2
    # One expert a device is the best of EVEN whoever places it, so nobody is alone there.
    assert found["round_robin"]["best"] == 1 and found["round_robin"]["over_best_most"] > 1
    assert found["eplb_hierarchical"]["problems"] == found["remap"]["problems"] == 0
    assert sum(row["alone"] for row in found.values()) == 0
    assert json.loads(json.dumps(found)) == found  # plain values, which --json prints


def test_a_remapping_is_measured_where_a_chip_is_placed_already() -> None:
    moved = layer_problem(np.array([1.0, 2.0, 3.0, 9.0]), SlotShape(8, devices=4))
    found = ablate_policies([replace(moved, current=solve(SKEWED))])
    assert found[-1]["policy"] == "remap" and found[-1]["problems"] == 1


def test_every_part_of_the_search_can_be_left_out() -> None:
    rows = ablate_parts([SKEWED, EVEN])
    assert [row["without"] for row in rows] == list(PARTS)
    assert all(row["worse"] + row["better"] <= row["problems"] == 2 for row in rows)
    # Without any exchange four equal units that start in pairs stay so: moves have no room.
    pairs = layer_problem(np.array([5.0, 4.0, 3.0, 3.0, 3.0]), SlotShape(6, devices=2))
    fixed = arrays_of(pairs)
    times = {
        part: evaluate(
            pairs, assignment_of(fixed, search(pairs, fixed, 0, without=part))
        ).slowest_tile_ps
        for part in ("", *PARTS)
    }
    assert times[""] == min(times.values()) <= 1.06 * lower_bound_ps(pairs)


def test_reference_problems_are_layers_and_hop_placements() -> None:
    found = list(reference_problems(DATA))
    hops = [p for p in found if p.weights.time == 0.0]
    assert len(hops) == 3 and all(p.traffic_bytes.nnz for p in hops)
    assert len(found) == 3 + sum(-(-n // 4) for n in (16, 16, 16, 32, 12, 26, 8))


def test_a_reference_without_ablation_is_refused() -> None:
    app = new_app("Test.")
    register(app)
    with pytest.raises(CimsimError, match="--reference goes with --ablation"):
        CliRunner().invoke(
            app, ["bench", "mapping", "--reference", str(DATA)], catch_exceptions=False
        )
