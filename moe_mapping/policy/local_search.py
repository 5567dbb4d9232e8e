"""Load-aware replication with local search: the slowest tile as low as it gets.

Starts from greedy replication and longest-first packing without two copies of a unit on
one tile, then lowers the slowest tile (`moe_mapping.balance`), then removes replicas that
the objective does not find worth their crossbars. Where that leaves the bound out of reach,
a descent from one copy of everything is the other candidate: few units on few tiles can be
balanced best without any replica, and single steps do not lead there.
"""

from __future__ import annotations

from moe_mapping.balance import NONE, STEPS, lower_peak, prune
from moe_mapping.objective import lower_bound_ps
from moe_mapping.packing import pack, replica_counts
from moe_mapping.policy.lpt import longest_first
from moe_mapping.problem import MappingProblem
from moe_mapping.registry import register_search
from moe_mapping.state import Fixed, WorkingPlan, peak, value

__all__ = ["PARTS", "search"]

NEAR_BOUND = 1.0005
"""Near enough to the bound to stop: a twentieth of a percent."""

PARTS = (*STEPS, "restart", "prune", "bare start")
"""What an ablation can leave out of the search."""

_STEPS = 2000
_WORK = 700_000
_FEWEST_KICKS, _MOST_KICKS = 30, 1000


@register_search("local_search")
def search(problem: MappingProblem, fixed: Fixed, seed: int, *, without: str = "") -> WorkingPlan:
    """Replicate, pack, search, prune.

    Args:
        problem: what to place and where.
        fixed: its arrays.
        seed: of the restarts.
        without: one of `PARTS` to leave out, for ablations.
    """
    left_out = STEPS.index(without) if without in STEPS else NONE
    kicks = 0 if without == "restart" else kicks_for(fixed)
    plan = pack(fixed, replica_counts(fixed, fill=True))
    target = lower_bound_ps(problem) * NEAR_BOUND
    lower_peak(fixed, plan, target, _STEPS, kicks, seed, left_out)
    if without != "prune":
        prune(fixed, plan)
    if peak(plan) <= target or without == "bare start":
        return plan
    bare = longest_first(problem, fixed, seed)
    lower_peak(fixed, bare, target, _STEPS, 0, seed, left_out)
    if without != "prune":
        prune(fixed, bare)
    return min((plan, bare), key=lambda found: value(fixed, found))


def kicks_for(fixed: Fixed) -> int:
    """Return how many restarts a problem of this size gets: equal work, roughly."""
    return max(_FEWEST_KICKS, min(_MOST_KICKS, _WORK // fixed.need.size**2))
