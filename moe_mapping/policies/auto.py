"""The default: the best of all built-in policies on the shared objective.

Every policy that fits the problem runs once, so that the result is never worse than any
of them. Policies that only differ in traffic are skipped where there is none, and the
exact solver runs only on small problems whose bound is not met yet.
"""

from __future__ import annotations

from moe_mapping.assignment import Assignment
from moe_mapping.objective import evaluate, lower_bound_ps, scale_of
from moe_mapping.policies import (
    affinity,
    annealing,
    eplb,
    exact,
    local_search,
    lpt,
    round_robin,
    uniform,
)
from moe_mapping.problem import MappingProblem

__all__ = ["place"]

_CERTAIN = 1e-9


def place(problem: MappingProblem, seed: int) -> Assignment:
    """Run all policies that can differ and return the best; the first of equals."""
    price = scale_of(problem)
    best = local_search.place(problem, seed)
    value = evaluate(problem, best).value
    bound = price.per_ps * lower_bound_ps(problem)
    entries = [lpt.place, eplb.place_global, round_robin.place, uniform.place]
    if price.per_hop_byte > 0.0 or price.per_rewritten_crossbar > 0.0:
        entries += [affinity.place, annealing.place]
    if eplb.divides(problem):
        entries.append(eplb.place_hierarchical)
    if exact.is_small(problem):
        entries.append(exact.place)
    if problem.current is not None:
        score = evaluate(problem, problem.current).value
        if score < value:
            best, value = problem.current, score
    for place_with in entries:
        if value <= bound * (1.0 + _CERTAIN):
            return best
        found = place_with(problem, seed)
        score = evaluate(problem, found).value
        if score < value:
            best, value = found, score
    return best
