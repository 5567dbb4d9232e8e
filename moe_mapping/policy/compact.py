"""Compaction: whole tiles stay free for replicas of the units that are large and busy.

Policies that only even out the load spread small units over all tiles and leave a little
room on each: enough for one more small unit, never for a second copy of a large one, which
then sets the slowest tile alone. Here a target time decides first how many copies every
unit needs, n_u = ceil(t_u / target), and copies are packed size by size: the largest size
first, so that its copies get their tiles before room is cut up, or the size whose copies are
busiest on average first, so that small busy units do not have to join large busy ones.
Targets between the lower bound and the time of a load-aware plan are tried in turn (the
dual approximation of Hochbaum and Shmoys, J. ACM 34, 1987, here with two sizes, crossbars
and time); the best plan by the shared objective is searched locally.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moe_mapping.balance import lower_peak, prune
from moe_mapping.objective import lower_bound_ps
from moe_mapping.packing import pack_in_turn
from moe_mapping.plan import widened
from moe_mapping.policy.local_search import NEAR_BOUND, kicks_for, search
from moe_mapping.problem import MappingProblem
from moe_mapping.registry import register_search
from moe_mapping.state import Fixed, WorkingPlan, peak, value

__all__ = ["compact", "search_and_compact"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_TARGETS = 32
_STEPS = 2000
_ROUNDING = 1.0 - 1e-9


@register_search("compact")
def search_and_compact(problem: MappingProblem, fixed: Fixed, seed: int) -> WorkingPlan:
    """Search, compact, and return the better of both."""
    return compact(problem, fixed, search(problem, fixed, seed), seed)


def compact(problem: MappingProblem, fixed: Fixed, plan: WorkingPlan, seed: int) -> WorkingPlan:
    """Return a compacted plan, or the one given where that is no worse.

    Where all units are equally large no room is ever cut up, and there is nothing to gain.

    Args:
        problem: what to place and where.
        fixed: its arrays.
        plan: a load-aware plan, whose slowest tile is to be beaten.
        seed: of the local search.
    """
    if bool((fixed.need == fixed.need[0]).all()) or not fixed.replicable.any():
        return plan
    bound, slowest = lower_bound_ps(problem), peak(plan)
    if slowest <= bound * NEAR_BOUND:
        return plan
    best = None
    for target in np.geomspace(bound, slowest, _TARGETS):
        counts = _copies_for(fixed, float(target))
        if int((counts - 1) @ fixed.need) > int(fixed.limits[0]):
            continue
        for rank in (fixed.need.astype(np.float64), _mean_share(fixed, counts)):
            found = pack_in_turn(fixed, counts, rank)
            if found is not None and (best is None or value(fixed, found) < value(fixed, best)):
                best = found
    if best is None:
        return plan
    best = widened(fixed, best)
    lower_peak(fixed, best, bound * NEAR_BOUND, _STEPS, kicks_for(fixed), seed)
    prune(fixed, best)
    return min((plan, best), key=lambda found: value(fixed, found))


def _copies_for(fixed: Fixed, target_ps: float) -> Ints:
    """Return the fewest copies with which no share exceeds the target, [U]."""
    if target_ps <= 0.0:
        return np.ones_like(fixed.need)
    wanted = np.ceil(fixed.time_ps / target_ps * _ROUNDING).astype(np.int64)
    return np.where(fixed.replicable, np.maximum(1, wanted), 1)


def _mean_share(fixed: Fixed, counts: Ints) -> Floats:
    """Return the mean busy time of the copies of all units of the same size, [U]."""
    _, size = np.unique(fixed.need, return_inverse=True)
    mean: Floats = np.bincount(size, fixed.time_ps)[size] / np.bincount(size, counts)[size]
    return mean
