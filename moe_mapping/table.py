"""Policies side by side: what the command line shows."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from moe_mapping.assignment import Assignment
from moe_mapping.objective import evaluate, tile_times_ps
from moe_mapping.problem import MappingProblem
from moe_mapping.registry import policies, solve
from moe_mapping.slots import SlotPlan, SlotShape, place_slots

__all__ = [
    "ChipRow",
    "SlotRow",
    "compare_on_chip",
    "compare_slots",
    "place_on_chip",
    "place_timed",
    "warm_up",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SlotRow:
    """One policy on expert slots."""

    policy: str
    plan: SlotPlan
    seconds: float


@dataclass(frozen=True)
class ChipRow:
    """One policy on a chip.

    Attributes:
        policy: its name.
        assignment: where units sit.
        value: objective, lower is better.
        slowest_tile_ps: busy time of the slowest tile in the trace's window.
        balance: slowest / even tile time, None for a chip without load.
        hop_bytes: bytes times hops.
        replica_crossbars: crossbars in extra copies.
        tile_times_ps: [T].
        seconds: time that the policy took.
    """

    policy: str
    assignment: Assignment
    value: float
    slowest_tile_ps: float
    balance: float | None
    hop_bytes: float
    replica_crossbars: int
    tile_times_ps: Floats
    seconds: float


def warm_up() -> float:
    """Load or compile the policies on a tiny problem; return the seconds that took."""
    started = perf_counter()
    place_slots([[5.0, 3.0, 2.0, 1.0]], slots=8, groups=2, nodes=2, devices=4)
    place_slots([[9.0, 3.0, 2.0, 1.0]], slots=8, devices=4, policy="lpt")
    return perf_counter() - started


def place_timed(loads: Floats, shape: SlotShape, policy: str, seed: int) -> SlotRow:
    """Fill slots with one policy and time it."""
    started = perf_counter()
    plan = place_slots(loads, shape.slots, shape.groups, shape.nodes, shape.devices, policy, seed)
    return SlotRow(policy, plan, perf_counter() - started)


def compare_slots(loads: Floats, shape: SlotShape, seed: int) -> list[SlotRow]:
    """Fill slots with every policy that fits the problem; best balance first."""
    rows = []
    for policy in policies():
        hierarchical = shape.nodes > 1 and shape.groups % shape.nodes == 0
        if policy == "eplb_hierarchical" and not hierarchical:
            continue
        if policy == "exact" and loads.shape[1] > 8:
            continue  # minutes, or refused
        rows.append(place_timed(loads, shape, policy, seed))
    return sorted(rows, key=lambda row: float(row.plan.balance.mean()))


def place_on_chip(problem: MappingProblem, policy: str, seed: int) -> ChipRow:
    """Place units on a chip with one policy and time it."""
    started = perf_counter()
    found = solve(problem, policy, seed)
    seconds = perf_counter() - started
    score = evaluate(problem, found)
    return ChipRow(
        policy=policy,
        assignment=found,
        value=score.value,
        slowest_tile_ps=score.slowest_tile_ps,
        balance=score.balance,
        hop_bytes=score.hop_bytes,
        replica_crossbars=score.replica_crossbars,
        tile_times_ps=tile_times_ps(problem, found),
        seconds=seconds,
    )


def compare_on_chip(problem: MappingProblem, seed: int) -> list[ChipRow]:
    """Place units with every policy that fits the problem; best objective first."""
    skipped = ("eplb_hierarchical", "exact") if problem.n_units > 8 else ("eplb_hierarchical",)
    rows = [place_on_chip(problem, p, seed) for p in policies() if p not in skipped]
    return sorted(rows, key=lambda row: row.value)
