"""A battery of checks for placement policies, ours and yours.

    from moe_mapping.testing import check_mapper
    check_mapper(my_policy)          # raises AssertionError naming case and rule

Cases are generated from a seed: loads of any shape, units of one or many sizes, units
larger than a tile, chips full to the last crossbar, replicas, traffic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.random import Generator, Philox
from scipy import sparse

from moe_mapping.assignment import Assignment
from moe_mapping.objective import evaluate
from moe_mapping.problem import MappingProblem, no_traffic
from moe_mapping.registry import Policy, goes_by_index, solve

__all__ = ["KINDS", "MapperReport", "check_mapper", "generated_case"]

KINDS = ("slots", "replicas", "traffic", "packed", "sizes", "wide")
"""What a generated case is about."""

_RANDOM_DRAWS = 8


@dataclass(frozen=True)
class MapperReport:
    """What a policy did on the generated cases.

    Attributes:
        cases: number of cases.
        mean_ratio: mean over cases of the objective (or what the policy sees of it) / its mean
            over random placements.
        worst_ratio: the largest of them.
    """

    cases: int
    mean_ratio: float
    worst_ratio: float


def generated_case(
    seed: int, index: int, kind: str = "replicas", most_units: int = 24
) -> MappingProblem:
    """Return a generated mapping problem; a pure function of its arguments.

    Args:
        seed: of all cases.
        index: which case.
        kind: one of `KINDS`.
        most_units: largest number of units.
    """
    draw = Generator(Philox(key=np.array([seed, index], dtype=np.uint64)))
    units = int(draw.integers(2, most_units + 1))
    size = int(draw.integers(1, 5))
    sizes = np.full(units, size, dtype=np.int64)
    if kind == "sizes":
        sizes = draw.integers(1, 6, units)
    width = int(draw.integers(2, 5))
    tiles = width * int(draw.integers(1, 4)) - int(draw.integers(0, 2))
    capacity = max(int(sizes.max()), -(-int(sizes.sum()) // tiles))
    if kind == "wide":
        capacity, sizes = max(2, size - 1), sizes + 2
        tiles = -(-int(sizes.sum()) // capacity) + int(draw.integers(0, 4))
    elif kind != "packed":
        capacity = -(-capacity // size) * size + size * int(draw.integers(0, 3))
    position = np.stack([np.arange(tiles) % width, np.arange(tiles) // width])
    hops = np.abs(position[:, :, None] - position[:, None, :]).sum(axis=0)
    traffic = sparse.csr_array(no_traffic(units))
    if kind in {"traffic", "packed", "wide"}:
        flow = np.triu(draw.random((units, units)) * (draw.random((units, units)) < 0.5), 1)
        traffic = sparse.csr_array((flow + flow.T) * 1e4)
    spare = tiles * capacity - int(sizes.sum())
    return MappingProblem(
        units=tuple(f"u{i:02d}" for i in range(units)),
        layer=draw.integers(0, 3, units),
        crossbars=sizes,
        time_ps=draw.gamma(float(draw.choice([0.3, 1.0, 4.0])), 1e6, units) + 1.0,
        replicable=np.ones(units, dtype=np.bool_),
        traffic_bytes=traffic,
        capacity=np.full(tiles, capacity, dtype=np.int64),
        hops=hops.astype(np.int64),
        replica_budget=0 if kind in {"slots", "traffic"} else spare,
    )


def check_mapper(
    policy: str | Policy,
    cases: int = 60,
    seed: int = 0,
    kinds: tuple[str, ...] = KINDS,
    most_units: int = 24,
    sees: Literal["all", "load", "nothing"] = "all",
) -> MapperReport:
    """Run the battery on one policy.

    Checks of every case: each unit is placed whole and no tile holds more than it can; the
    same seed gives the same assignment; listing the units in another order, and (for
    policies that do not go by the index) giving them other names, moves nothing; the
    objective is not worse than the mean of random placements. A policy can only promise
    that for what it looks at: the whole objective, or the slowest tile, or nothing; in the
    last case the mean over cases must not be worse by more than three standard errors.

    Args:
        policy: a name, or a policy function.
        cases: number of generated cases.
        seed: of the cases.
        kinds: of cases, in turn.
        most_units: largest number of units of a case.
        sees: what the policy looks at.

    Raises:
        AssertionError: naming the case and the broken rule.
    """
    ratios = np.empty(cases)
    for index in range(cases):
        kind = kinds[index % len(kinds)]
        problem = generated_case(seed, index, kind, most_units)
        where = f"case {index} ({kind}, seed {seed})"
        found = solve(problem, policy, seed)
        problem.check(found)
        _require(solve(problem, policy, seed) == found, f"{where}: not deterministic")
        _check_order(problem, policy, seed, found, where)
        draws = [evaluate(problem, solve(problem, "random", s)) for s in range(_RANDOM_DRAWS)]
        mine = evaluate(problem, found)
        if sees == "load":
            mean = float(np.mean([d.slowest_tile_ps for d in draws]))
            ratios[index] = mine.slowest_tile_ps / mean
        else:
            ratios[index] = mine.value / float(np.mean([d.value for d in draws]))
        worse = sees != "nothing" and ratios[index] > 1.0 + 1e-9
        _require(not worse, f"{where}: {ratios[index]:.4f} x random placement")
    error = float(ratios.std(ddof=1)) / np.sqrt(cases) if cases > 1 else np.inf
    _require(float(ratios.mean()) <= 1.0 + 3 * error, "worse than random placement on average")
    return MapperReport(cases, float(ratios.mean()), float(ratios.max()))


def _check_order(
    problem: MappingProblem, policy: str | Policy, seed: int, found: Assignment, where: str
) -> None:
    order = np.argsort(_shuffle_key(problem.n_units))
    again = solve(problem.reorder(order), policy, seed)
    _require(again == found.reorder(order), f"{where}: the order of the list matters")
    if not goes_by_index(policy):
        names = tuple(f"v{i:02d}" for i in order)
        renamed = solve(replace(problem, units=names), policy, seed)
        _require(renamed == found, f"{where}: names of units matter")


def _shuffle_key(units: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return sort keys that shuffle a list of units: multiples of a prime."""
    return (np.arange(units, dtype=np.int64) * 7919 + 13) % 104_729 % 97


def _require(condition: bool, message: str) -> None:  # noqa: FBT001 - the thing asserted
    if not condition:
        raise AssertionError(message)
