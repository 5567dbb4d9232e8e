"""Policies by name, and the one way to run them.

Built-in policies are listed here; other packages add theirs through the entry point
group `moe_mapping.policies` (name = module:function). A policy is a pure function

    place(problem: MappingProblem, seed: int) -> Assignment

of a problem whose units are in canonical order: hottest first, then largest, then by
name. So results do not depend on the order in which the caller lists units, and relabelled
units with different loads get relabelled places. Round robin, which is defined by the
index, sees units by name.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError, nearest
from moe_mapping.assignment import Assignment
from moe_mapping.problem import MappingProblem

__all__ = [
    "BUILT_IN",
    "BY_INDEX",
    "ENTRY_POINT_GROUP",
    "Policy",
    "policies",
    "policy_named",
    "solve",
]

Policy = Callable[[MappingProblem, int], Assignment]

ENTRY_POINT_GROUP = "moe_mapping.policies"

BUILT_IN: dict[str, tuple[str, str]] = {
    "auto": ("moe_mapping.policies.auto", "place"),
    "round_robin": ("moe_mapping.policies.round_robin", "place"),
    "random": ("moe_mapping.policies.uniform", "place"),
    "lpt": ("moe_mapping.policies.lpt", "place"),
    "eplb": ("moe_mapping.policies.eplb", "place"),
    "eplb_global": ("moe_mapping.policies.eplb", "place_global"),
    "eplb_hierarchical": ("moe_mapping.policies.eplb", "place_hierarchical"),
    "local_search": ("moe_mapping.policies.local_search", "place"),
    "compact": ("moe_mapping.policies.compact", "place"),
    "affinity": ("moe_mapping.policies.affinity", "place"),
    "annealing": ("moe_mapping.policies.annealing", "place"),
    "exact": ("moe_mapping.policies.exact", "place"),
}

BY_INDEX = ("round_robin",)
"""Policies that see units by name."""


def policies() -> tuple[str, ...]:
    """Return the names of all policies: built-in first, then installed ones, sorted."""
    installed = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
    return (*BUILT_IN, *sorted(installed - BUILT_IN.keys()))


def policy_named(name: str) -> Policy:
    """Return a policy by name.

    Raises:
        CimsimError: if there is none of that name.
    """
    if name in BUILT_IN:
        module, function = BUILT_IN[name]
        found: Policy = getattr(import_module(module), function)
        return found
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            loaded: Policy = point.load()
            return loaded
    raise CimsimError(
        "unknown mapping policy",
        key="mapping.policy",
        value=name,
        allowed=", ".join(policies()),
        hint=nearest(name, policies()),
    )


def solve(problem: MappingProblem, policy: str | Policy = "auto", seed: int = 0) -> Assignment:
    """Place the units of a problem.

    Args:
        problem: what to place and where.
        policy: one of `policies()`, or a policy function.
        seed: of the policies that draw random numbers; same seed, same assignment.

    Raises:
        CimsimError: for an unknown policy, or one that does not fit the problem.
    """
    place = policy_named(policy) if isinstance(policy, str) else policy
    order = canonical_order(problem, by_load=policy not in BY_INDEX)
    found = place(problem.reorder(order), seed).reorder(np.argsort(order))
    found.check(problem)
    return found


def canonical_order(problem: MappingProblem, *, by_load: bool) -> NDArray[np.int64]:
    """Return the order in which policies see units, [U]: old index of every position."""
    try:
        by_name = sorted(range(problem.n_units), key=lambda i: problem.units[i])  # type: ignore[arg-type,return-value]
    except TypeError:
        by_name = sorted(range(problem.n_units), key=lambda i: repr(problem.units[i]))
    rank = np.empty(problem.n_units, dtype=np.int64)
    rank[by_name] = np.arange(problem.n_units)
    if not by_load:
        return np.asarray(by_name, dtype=np.int64)
    keys = (rank, -problem.crossbars, -problem.time_ps)
    return np.lexsort(keys).astype(np.int64)
