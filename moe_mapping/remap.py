"""Incremental re-mapping: the few moves that restore balance after the load has drifted.

Starts from what is programmed, not from scratch. First units that have become hot are
written over replicas that have become cold; then every step looks at the slowest tile and
takes the change with the most time saved for each crossbar that must be programmed: send a
copy to free room, write a hot unit over a replica that is no longer needed, or exchange
two copies; it stops at the target. Copies that turn out not to have needed a move go back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from moe_mapping import moves
from moe_mapping.assignment import Assignment
from moe_mapping.balance import lower_peak
from moe_mapping.feasibility import can_swap
from moe_mapping.kernel import inner, kernel
from moe_mapping.moves import CopyTable
from moe_mapping.objective import lower_bound_ps, tile_times_ps
from moe_mapping.packing import least_loaded, site_time
from moe_mapping.plan import arrays_of, assignment_of, copy_plan, plan_of
from moe_mapping.problem import MappingProblem
from moe_mapping.state import Fixed, WorkingPlan, drop, peak, put, rebuild, shift, swap
from moe_mapping.tournament import slowest_leaf

__all__ = ["Remap", "remap"]

Ints = NDArray[np.int64]

_MOST_STEPS = 10_000
_KICKS = 100
_TOP_SHARES = (np.inf, 1.0, 0.8, 0.6, 0.4)
"""Largest share of a copy, in targets, before balancing starts: each is one attempt."""


@dataclass(frozen=True)
class Remap:
    """A change of plan, what it gains and what it costs.

    Attributes:
        assignment: the new plan.
        before_ps: slowest tile under the current plan and the present load.
        after_ps: slowest tile under the new plan.
        target_ps: what was asked for.
        moves: copies that must be programmed, whole or in part.
        rewritten_crossbars: crossbars programmed.
    """

    assignment: Assignment
    before_ps: float
    after_ps: float
    target_ps: float
    moves: int
    rewritten_crossbars: int

    @property
    def gain_ps(self) -> float:
        """Time that the slowest tile saves in every window like this one."""
        return self.before_ps - self.after_ps

    @property
    def reached(self) -> bool:
        """Whether the target was met."""
        return self.after_ps <= self.target_ps * (1 + 1e-9)


def remap(problem: MappingProblem, slack: float = 0.05, most_moves: int | None = None) -> Remap:
    """Restore balance with few moves.

    Args:
        problem: present loads, with `current` set to what is programmed.
        slack: the target is (1 + slack) x the lower bound of the slowest tile.
        most_moves: stop after about this many programmed copies; None = no limit.

    Raises:
        CimsimError: if the problem has no current plan.
    """
    if problem.current is None:
        raise CimsimError("re-mapping needs the plan that is programmed now")
    if not slack >= 0:
        raise CimsimError("the slack of a re-mapping must be >= 0", value=slack)
    order = np.lexsort((-problem.crossbars, -problem.time_ps)).astype(np.int64)
    inner = problem.reorder(order)
    fixed = arrays_of(inner)
    plan = None if inner.current is None else plan_of(fixed, inner.current)
    if plan is None:
        raise CimsimError("the current plan does not sit on this chip")
    target = lower_bound_ps(problem) * (1.0 + slack)
    limit = _MOST_STEPS if most_moves is None else most_moves
    best = min(
        (_attempt(fixed, plan, target, limit, top) for top in _TOP_SHARES),
        key=lambda a: (max(a.slowest_ps, target * (1 + 1e-9)), a.written),
    )
    found = assignment_of(fixed, best.plan).reorder(np.argsort(order))
    return Remap(
        assignment=found,
        before_ps=float(tile_times_ps(problem, problem.current).max()),
        after_ps=float(tile_times_ps(problem, found).max()),
        target_ps=target,
        moves=found.moves(problem.current),
        rewritten_crossbars=found.rewritten(problem.current),
    )


class _Attempt(NamedTuple):
    plan: WorkingPlan
    slowest_ps: float
    written: int


def _attempt(fixed: Fixed, start: WorkingPlan, target: float, limit: int, top: float) -> _Attempt:
    """Repair a copy of the current plan, after giving hot units the copies they lack."""
    plan = copy_plan(start)
    moved = _recount(fixed, plan, target * top, limit)
    _repair(fixed, plan, target, limit - moved)
    if limit == _MOST_STEPS and peak(plan) > target:
        # Where single steps are stuck, a few random ones may not be.
        lower_peak(fixed, plan, target, _MOST_STEPS, _KICKS, 0)
    _undo(fixed, plan, start.site, start.copies, max(target, peak(plan)))
    homes = [set(start.site[u, : start.copies[u]].tolist()) for u in range(start.copies.size)]
    written = sum(
        int(fixed.need[u])
        for u, home in enumerate(homes)
        for site in plan.site[u, : plan.copies[u]].tolist()
        if site not in home
    )
    return _Attempt(plan, float(peak(plan)), written)


@inner
def _step(fixed: Fixed, plan: WorkingPlan, table: CopyTable, target: float) -> int:
    """Take the step that saves most time a programmed copy; return copies programmed."""
    unit, copy = table.unit, table.copy
    top = peak(plan)
    limit = top * (1.0 - 1e-12)
    n = moves.fill_table(fixed, plan, table, slowest_leaf(plan.tree))
    moves.fill_others(fixed, plan, table, n)
    one, x, to = moves.best_shift(fixed, plan, table, n, limit)
    kind = 0
    time, u, free = moves.best_addition(fixed, plan, table, n, one)
    if u >= 0:
        one, x, to, kind = time, u, free, 1
    time, u, row = moves.best_replacement(fixed, plan, table, n, one)
    if u >= 0:
        one, x, to, kind = time, u, row, 2
    time, u, row = moves.best_relief(fixed, plan, table, n, one)
    if u >= 0:
        one, x, to, kind = time, u, row, 2
    two, i, j = moves.best_swap(fixed, plan, table, n, limit)
    saved_by_one = top - max(one, target) if x >= 0 else 0.0
    saved_by_two = top - max(two, target) if i >= 0 else 0.0
    if i >= 0 and saved_by_two > 2.0 * saved_by_one:
        swap(fixed, plan, unit[i], copy[i], unit[j], copy[j])
        return 2
    if x < 0:
        return 0
    if kind == 0:
        shift(fixed, plan, unit[x], copy[x], to)
    elif kind == 1:
        put(fixed, plan, x, to)
    else:
        moves.replace_copy(fixed, plan, unit[to], copy[to], x)
    return 1


@inner
def _victim(fixed: Fixed, plan: WorkingPlan, u: int, top_share: float) -> tuple[int, int]:
    """Return the replica that is missed least: (unit, copy), -1 if none may go for u."""
    v, m = -1, -1
    least, coolest = top_share, np.inf
    for other in range(fixed.need.size):
        if plan.copies[other] < 2:
            continue
        share = fixed.time_ps[other] / (plan.copies[other] - 1)
        if share > least:
            continue
        for k in range(plan.copies[other]):
            time = site_time(fixed, plan, plan.site[other, k])
            better = share < least or time < coolest
            if better and moves.can_replace(fixed, plan, other, k, u):
                v, m, least, coolest = other, k, share, time
    return v, m


@kernel
def _recount(fixed: Fixed, plan: WorkingPlan, top_share: float, most_moves: int) -> int:
    """Replicate units whose share exceeds a limit, at the cost of the least needed replicas.

    Returns the copies programmed.
    """
    moved = 0
    for u in range(fixed.need.size):
        while fixed.time_ps[u] / plan.copies[u] > top_share and moved < most_moves:
            site = least_loaded(fixed, plan, u)
            if site >= 0:
                put(fixed, plan, u, site)
            else:
                v, m = -1, -1
                if fixed.replicable[u]:
                    v, m = _victim(fixed, plan, u, top_share)
                if v < 0:
                    break
                moves.replace_copy(fixed, plan, v, m, u)
            moved += 1
    rebuild(fixed, plan)
    return moved


@kernel
def _repair(fixed: Fixed, plan: WorkingPlan, target: float, most_moves: int) -> None:
    """Step until the target is met, nothing helps or the moves are used up."""
    table = moves.empty_table(fixed)
    moved = 0
    while peak(plan) > target and moved < most_moves:
        done = _step(fixed, plan, table, target)
        if done == 0:
            break
        moved += done
    rebuild(fixed, plan)


@inner
def _copy_at(sites: Ints, copies: Ints, u: int, site: int) -> int:
    """Return the number of the copy of a unit that sits on a site, -1 if none does."""
    at = -1
    for k in range(copies[u]):
        if sites[u, k] == site:
            at = k
    return at


@inner
def _send_home(
    fixed: Fixed,
    plan: WorkingPlan,
    first_site: Ints,
    first_copies: Ints,
    u: int,
    k: int,
    limit: float,
) -> None:
    """Move a copy back to where the unit was, if the limit allows: alone or by a swap."""
    site = plan.site[u, k]
    for h in range(first_copies[u]):
        home = first_site[u, h]
        if moves.may_shift(fixed, plan, u, k, home):
            shift(fixed, plan, u, k, home)
            if peak(plan) <= limit:
                return
            shift(fixed, plan, u, k, site)
        for v in range(fixed.need.size):
            for m in range(plan.copies[v]):
                if plan.site[v, m] != home or _copy_at(first_site, first_copies, v, home) >= 0:
                    continue
                if can_swap(fixed, plan, u, k, v, m):
                    swap(fixed, plan, u, k, v, m)
                    if peak(plan) <= limit:
                        return
                    swap(fixed, plan, u, k, v, m)


@kernel
def _undo(
    fixed: Fixed, plan: WorkingPlan, first_site: Ints, first_copies: Ints, limit: float
) -> None:
    """Take back moves that the limit does not need: drop new copies or send them home."""
    for u in range(fixed.need.size):
        k = plan.copies[u] - 1
        while k >= 0:
            site = plan.site[u, k]
            if _copy_at(first_site, first_copies, u, site) < 0:
                kept = True
                if plan.copies[u] > 1:
                    drop(fixed, plan, u, k)
                    kept = peak(plan) > limit
                    if kept:  # the copy comes back at the end of the list
                        put(fixed, plan, u, site)
                if kept:
                    last = _copy_at(plan.site, plan.copies, u, site)
                    _send_home(fixed, plan, first_site, first_copies, u, last, limit)
            k -= 1
    rebuild(fixed, plan)
