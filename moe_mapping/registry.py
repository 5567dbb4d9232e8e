"""Policies by name, and the one way to run them.

A policy is a pure function

    @register_policy("mine")
    def place(problem: MappingProblem, seed: int) -> Assignment: ...

of a problem whose units are in canonical order: hottest first, then largest, then by
name. So results do not depend on the order in which the caller lists units, and relabelled
units with different loads get relabelled places. Round robin, which is defined by the
index, sees units by name.

Every file in `moe_mapping/policy` registers its own; files of users do the same, and
installed packages name theirs in the entry point group `moe_mapping.policies` (name =
module:function).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from cimsim.registry import Registry
from moe_mapping.assignment import Assignment
from moe_mapping.plan import arrays_of, assignment_of
from moe_mapping.problem import MappingProblem
from moe_mapping.state import Fixed, WorkingPlan

__all__ = [
    "ENTRY_POINT_GROUP",
    "Policy",
    "goes_by_index",
    "policies",
    "policy_named",
    "register_policy",
    "register_search",
    "solve",
]

Policy = Callable[[MappingProblem, int], Assignment]
Search = Callable[[MappingProblem, Fixed, int], WorkingPlan]
Found = TypeVar("Found", bound=Search)

DEFAULT = "auto"
ENTRY_POINT_GROUP = "moe_mapping.policies"

_POLICIES: Registry[Policy] = Registry(
    "mapping policy", "mapping.policy", "moe_mapping.policy", ENTRY_POINT_GROUP
)
_BY_INDEX: set[str] = set()


def register_policy(name: str) -> Callable[[Policy], Policy]:
    """Register a policy under a name, for `mapping.policy` and `solve`.

    Raises:
        CimsimError: if another policy has the name.
    """
    return _POLICIES.register(name)


def register_search(name: str, *, by_index: bool = False) -> Callable[[Found], Found]:
    """Register a function of a problem and its arrays that returns a plan.

    Args:
        name: of the policy.
        by_index: it sees units by name.
    """

    def add(find: Found) -> Found:
        @wraps(find)
        def place(problem: MappingProblem, seed: int) -> Assignment:
            fixed = arrays_of(problem)
            return assignment_of(fixed, find(problem, fixed, seed))

        register_policy(name)(place)
        if by_index:
            _BY_INDEX.add(name)
        return find

    return add


def goes_by_index(policy: str | Policy) -> bool:
    """Tell whether a policy sees units by name instead of hottest first."""
    return policy in _BY_INDEX


def policies() -> tuple[str, ...]:
    """Return the names of all policies, sorted, the default first."""
    return tuple(sorted(_POLICIES, key=lambda name: (name != DEFAULT, name)))


def policy_named(name: str) -> Policy:
    """Return a policy by name.

    Raises:
        CimsimError: if there is none of that name.
    """
    return _POLICIES.named(name)


def solve(problem: MappingProblem, policy: str | Policy = DEFAULT, seed: int = 0) -> Assignment:
    """Place the units of a problem.

    Args:
        problem: what to place and where.
        policy: one of `policies()`, or a policy function.
        seed: of the policies that draw random numbers; same seed, same assignment.

    Raises:
        CimsimError: for an unknown policy, or one that does not fit the problem or places
            other units.
    """
    place = policy_named(policy) if isinstance(policy, str) else policy
    order = canonical_order(problem, by_load=not goes_by_index(policy))
    answer = place(problem.reorder(order), seed)
    if not isinstance(answer, Assignment) or len(answer.copies) != problem.n_units:
        raise CimsimError(
            "the policy gives no copies of the units that it is asked to place",
            key="mapping.policy",
            value=policy if isinstance(policy, str) else None,
            allowed=f"an Assignment of {problem.n_units} units",
        )
    found = answer.reorder(np.argsort(order))
    problem.check(found)
    return found


def canonical_order(problem: MappingProblem, *, by_load: bool) -> NDArray[np.int64]:
    """Return the order in which policies see units, [U]: old index of every position."""
    try:
        by_name = sorted(range(problem.n_units), key=lambda i: problem.units[i])  # type: ignore[arg-type,return-value]
    except TypeError:
        by_name = sorted(range(problem.n_units), key=lambda i: repr(problem.units[i]))
    if not by_load:
        return np.asarray(by_name, dtype=np.int64)
    keys = (np.argsort(by_name), -problem.crossbars, -problem.time_ps)
    return np.lexsort(keys).astype(np.int64)
