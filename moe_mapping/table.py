"""Policies side by side: what the command line shows."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moe_mapping.assignment import Assignment
from moe_mapping.objective import Objective, evaluate, lower_bound_ps, tile_times_ps
from moe_mapping.policy.eplb import divides
from moe_mapping.problem import MappingProblem
from moe_mapping.registry import policies, solve
from moe_mapping.slots import SlotPlan, SlotShape, layer_problem, place_slots

__all__ = [
    "ChipRow",
    "SlotRow",
    "compare_on_chip",
    "compare_slots",
    "place_on_chip",
    "place_timed",
    "takes",
    "warm_up",
]

Floats = NDArray[np.float64]

MOST_EXACT = 8
"""Units up to which the exact solver is compared: beyond it takes minutes, or refuses."""


@dataclass(frozen=True)
class SlotRow:
    """One policy on expert slots."""

    policy: str
    plan: SlotPlan
    seconds: float

    def figures(self) -> dict[str, Any]:
        """Return the figures by name."""
        return {
            "policy": self.policy,
            "balance_mean": float(self.plan.balance.mean()),
            "balance_max": float(self.plan.balance.max()),
            "replicas": int(self.plan.phy2log.shape[1]),
            "seconds": self.seconds,
        }

    def answer(self) -> dict[str, Any]:
        """Return the figures and the plan."""
        return self.figures() | {
            "balance": self.plan.balance.tolist(),
            "copies": self.plan.replicas.tolist(),
            "phy2log": self.plan.phy2log.tolist(),
        }


@dataclass(frozen=True)
class ChipRow:
    """One policy on a chip.

    Attributes:
        policy: its name.
        problem: what was placed.
        assignment: where units sit.
        score: the objective and its parts.
        tile_times_ps: [T], busy time in the trace's window.
        seconds: time that the policy took.
    """

    policy: str
    problem: MappingProblem
    assignment: Assignment
    score: Objective
    tile_times_ps: Floats
    seconds: float

    def figures(self) -> dict[str, Any]:
        """Return the figures by name."""
        bound_ps, score = lower_bound_ps(self.problem), self.score
        return {
            "policy": self.policy,
            "objective": score.value,
            "slowest_tile_ps": score.slowest_tile_ps,
            "slowest_over_bound": score.slowest_tile_ps / bound_ps if bound_ps else None,
            "balance": score.balance,
            "hop_bytes": score.hop_bytes,
            "replica_crossbars": score.replica_crossbars,
            "seconds": self.seconds,
        }

    def answer(self) -> dict[str, Any]:
        """Return the figures and where every copy sits."""
        units = zip(self.problem.units, self.assignment.copies, strict=True)
        copies = {str(unit): [[list(part) for part in copy] for copy in own] for unit, own in units}
        return self.figures() | {"copies": copies}


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
    first = layer_problem(loads[0], shape)
    rows = [place_timed(loads, shape, p, seed) for p in policies() if takes(p, first)]
    return sorted(rows, key=lambda row: float(row.plan.balance.mean()))


def place_on_chip(problem: MappingProblem, policy: str, seed: int) -> ChipRow:
    """Place units on a chip with one policy and time it."""
    started = perf_counter()
    found = solve(problem, policy, seed)
    seconds = perf_counter() - started
    score, times = evaluate(problem, found), tile_times_ps(problem, found)
    return ChipRow(policy, problem, found, score, times, seconds)


def compare_on_chip(problem: MappingProblem, seed: int) -> list[ChipRow]:
    """Place units with every policy that fits the problem; best objective first."""
    rows = [place_on_chip(problem, p, seed) for p in policies() if takes(p, problem)]
    return sorted(rows, key=lambda row: row.score.value)


def takes(policy: str, problem: MappingProblem) -> bool:
    """Tell whether a policy takes a problem, and answers within seconds."""
    if policy == "exact":
        return problem.n_units <= MOST_EXACT
    return policy != "eplb_hierarchical" or divides(problem)
