"""The default: the best of all built-in policies on the shared objective, then improved.

Every policy that fits the problem runs once, so that the result is never worse than any
of them; partition and annealing start from the better of local search and compaction.
Where a policy has proven the optimum (the bound is met) the others are not asked, and
policies that look at traffic are left out where there is none. The exact solver takes part
in small problems, and on a chip that is programmed already the incremental re-mapping, to
several limits. In the ablation (`cimsim bench mapping --ablation`) re-mapping is alone the best
on every chip that is placed already, compaction and annealing on others; the four simple plans
never are, but cost next to nothing and keep the promise on any problem. Among plans of equal
objective the last step prefers those where experts of one layer have tiles of their own.
"""

from __future__ import annotations

from moe_mapping.assignment import Assignment
from moe_mapping.objective import evaluate, lower_bound_ps, serial_bound_ps
from moe_mapping.plan import arrays_of, assignment_of, plan_of
from moe_mapping.policy import exact
from moe_mapping.policy.affinity import part
from moe_mapping.policy.annealing import cool_down
from moe_mapping.policy.compact import compact
from moe_mapping.policy.eplb import divides, place_hierarchical, replicate_and_pack
from moe_mapping.policy.local_search import search
from moe_mapping.policy.lpt import longest_first
from moe_mapping.policy.round_robin import deal
from moe_mapping.policy.uniform import scatter
from moe_mapping.problem import MappingProblem
from moe_mapping.registry import register_policy
from moe_mapping.remap import remap
from moe_mapping.separate import separate
from moe_mapping.state import Fixed, WorkingPlan, value

__all__ = ["place"]

_CERTAIN = 1.0 + 1e-9
_SLACKS = (0.2, 0.1, 0.05, 0.02, 0.005)
"""Limits of re-mapping, as shares of the lower bound: moves are weighed against balance."""


@register_policy("auto")
def place(problem: MappingProblem, seed: int) -> Assignment:
    """Run all policies that can differ and return the best; the first of equals."""
    fixed = arrays_of(problem)
    per_ps, per_layer_ps = float(fixed.price[0]), float(fixed.price[4])
    bound = per_ps * lower_bound_ps(problem)
    bound += per_layer_ps * serial_bound_ps(problem) if per_layer_ps else 0.0
    searched = compact(problem, fixed, search(problem, fixed, seed), seed)
    proven = value(fixed, searched) <= bound * _CERTAIN
    plan = searched if proven else _best_plan(problem, fixed, searched, seed)
    if per_layer_ps:
        separate(fixed, plan)
    best = assignment_of(fixed, plan)
    if proven:
        return best
    others = _moved(problem, fixed)
    if divides(problem):
        others.append(place_hierarchical(problem, seed))
    if exact.is_small(problem):
        others.append(exact.place(problem, seed))
    if not others:  # on a large chip telling what one plan is worth takes seconds
        return best
    return min([best, *others], key=lambda found: evaluate(problem, found).value)


def _moved(problem: MappingProblem, fixed: Fixed) -> list[Assignment]:
    """Return the current assignment, if any, and what ever more moves make of it."""
    if problem.current is None:
        return []
    if plan_of(fixed, problem.current) is None:  # it sits on no site of this layout
        return [problem.current]
    return [problem.current, *(remap(problem, slack).assignment for slack in _SLACKS)]


def _best_plan(
    problem: MappingProblem, fixed: Fixed, searched: WorkingPlan, seed: int
) -> WorkingPlan:
    plans = [
        searched,
        longest_first(problem, fixed, seed),
        replicate_and_pack(fixed),
        deal(problem, fixed, seed),
        scatter(problem, fixed, seed),
    ]
    if fixed.price[1] > 0.0:
        plans.append(part(problem, fixed, searched, seed))
    plans.append(cool_down(fixed, searched, seed))
    return min(plans, key=lambda plan: value(fixed, plan))
