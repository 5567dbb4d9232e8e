"""Local search on the slowest tile: swap, move and replicate until nothing helps.

Every step looks at the copies on the slowest tile only, since no other move can lower
the maximum, and takes the best of a neighbourhood: first swaps and moves, then changes of
the number of copies. Where nothing helps, a few random swaps and a new descent follow;
the best plan wins. Work is bounded by counts, never by a clock.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moe_mapping.draws import below
from moe_mapping.feasibility import can_put, can_swap
from moe_mapping.kernel import inner, kernel
from moe_mapping.moves import (
    CopyTable,
    best_addition,
    best_relief,
    best_replacement,
    best_shift,
    best_swap,
    can_replace,
    empty_table,
    fill_others,
    fill_table,
    replace_copy,
)
from moe_mapping.packing import site_time, sites_of
from moe_mapping.state import (
    Fixed,
    WorkingPlan,
    drop,
    keep_sites,
    peak,
    put,
    rebuild,
    shift,
    swap,
    value,
)
from moe_mapping.tournament import slowest_leaf

__all__ = ["STEPS", "fill_spare", "lower_peak", "prune"]

Ints = NDArray[np.int64]
_TINY = 1.0 - 1e-12
_SLACK = 0.3

STEPS = ("swap", "move", "replicate", "replace", "relieve")
"""Steps of a descent by number. Each wins somewhere: `cimsim bench mapping --ablation` tells
what leaving one out costs."""

SWAP, MOVE, REPLICATE, REPLACE, RELIEVE = range(5)
NONE = -1


@inner
def _descend(  # noqa: PLR0912 - one branch a kind of step
    fixed: Fixed, plan: WorkingPlan, table: CopyTable, target: float, steps: int, left_out: int
) -> None:
    """Take the best step until none lowers the slowest tile."""
    unit, copy = table.unit, table.copy
    for _ in range(steps):
        limit = peak(plan) * _TINY
        if peak(plan) <= target:
            return
        n = fill_table(fixed, plan, table, slowest_leaf(plan.tree))
        best, x, y, z, to = limit, -1, -1, -1, -1
        if left_out != SWAP:
            best, x, y = best_swap(fixed, plan, table, n, limit)
        if left_out != MOVE:
            _, z, to = best_shift(fixed, plan, table, n, best)
        if z >= 0:
            shift(fixed, plan, unit[z], copy[z], to)
            continue
        if x >= 0:
            swap(fixed, plan, unit[x], copy[x], unit[y], copy[y])
            continue
        fill_others(fixed, plan, table, n)
        best, u, v = limit, -1, -1
        if left_out != REPLICATE:
            best, x, to = best_addition(fixed, plan, table, n, limit)
        if left_out != REPLACE:
            best, u, y = best_replacement(fixed, plan, table, n, best)
        if left_out != RELIEVE:
            _, v, z = best_relief(fixed, plan, table, n, best)
        if v >= 0:
            replace_copy(fixed, plan, unit[z], copy[z], v)
        elif u >= 0:
            replace_copy(fixed, plan, unit[y], copy[y], u)
        elif x >= 0:
            put(fixed, plan, x, to)
        else:
            return


@inner
def _kick(fixed: Fixed, plan: WorkingPlan, seed: int, draw: int, changes: int) -> int:
    """Swap random copies, or turn a random replica into another; return the next draw."""
    units = fixed.need.size
    done = 0
    for _ in range(20 * changes):
        u, v = below(seed, draw, units), below(seed, draw + 1, units)
        k, m = below(seed, draw + 2, plan.copies[u]), below(seed, draw + 3, plan.copies[v])
        turn = below(seed, draw + 4, 3) == 0
        draw += 5
        if turn and plan.copies[v] > 1 and can_replace(fixed, plan, v, m, u):
            replace_copy(fixed, plan, v, m, u)
            done += 1
        elif not turn and can_swap(fixed, plan, u, k, v, m):
            swap(fixed, plan, u, k, v, m)
            done += 1
        if done == changes:
            break
    return draw


@kernel
def lower_peak(
    fixed: Fixed,
    plan: WorkingPlan,
    target: float,
    steps: int,
    kicks: int,
    seed: int,
    left_out: int = NONE,
) -> None:
    """Lower the slowest tile's time by iterated local search; the plan never gets slower.

    After a kick and a descent the new plan is the next start if it is at most a little
    slower, and ever less so (threshold accepting, Dueck and Scheuer 1990).

    Args:
        fixed: the problem.
        plan: changed in place.
        target: stop at this time (a bound, or near enough to one).
        steps: most steps of one descent.
        kicks: new starts after a few random changes.
        seed: of the kicks.
        left_out: number of a kind of step that is not taken, for ablations.
    """
    table = empty_table(fixed)
    _descend(fixed, plan, table, target, steps, left_out)
    rebuild(fixed, plan)
    best = last = peak(plan)
    copies, site = plan.copies.copy(), np.empty_like(plan.site)
    last_copies, last_site = plan.copies.copy(), np.empty_like(plan.site)
    keep_sites(copies, plan.site, site)
    keep_sites(copies, plan.site, last_site)
    draw = 0
    for kick in range(kicks):
        if best <= target:
            break
        draw = _kick(fixed, plan, seed, draw, 1 + kick % 3)
        _descend(fixed, plan, table, target, steps, left_out)
        slack = _SLACK * (1.0 - kick / kicks)
        if peak(plan) <= last + slack * (last - target):
            rebuild(fixed, plan)
            last = peak(plan)
            last_copies[:] = plan.copies
            keep_sites(last_copies, plan.site, last_site)
            if last < best * _TINY:
                best = last
                copies[:] = plan.copies
                keep_sites(copies, plan.site, site)
        else:
            plan.copies[:] = last_copies
            keep_sites(last_copies, last_site, plan.site)
            rebuild(fixed, plan)
    plan.copies[:] = copies
    keep_sites(copies, site, plan.site)
    rebuild(fixed, plan)


@kernel
def prune(fixed: Fixed, plan: WorkingPlan) -> None:
    """Remove replicas that are not worth their crossbars, until none is left.

    The weighted objective decides: time, hop-bytes and rewriting against crossbars.
    """
    changed = True
    while changed:
        changed = False
        for unit in range(fixed.need.size):
            k = 0
            while k < plan.copies[unit] and plan.copies[unit] > 1:
                before = value(fixed, plan)
                site = plan.site[unit, k]
                drop(fixed, plan, unit, k)
                if value(fixed, plan) <= before - 1e-12:
                    changed = True
                else:
                    put(fixed, plan, unit, site)
                    last = plan.copies[unit] - 1  # `drop` filled the gap with the last copy
                    plan.site[unit, last] = plan.site[unit, k]
                    plan.site[unit, k] = site
                    k += 1
    rebuild(fixed, plan)


@kernel
def fill_spare(fixed: Fixed, plan: WorkingPlan) -> None:
    """Use up the replica budget: every free site gets the replica that hurts least."""
    while True:
        best, best_u, best_site = np.inf, -1, -1
        for u in range(fixed.need.size):
            if not fixed.replicable[u]:
                continue
            share = fixed.time_ps[u] / (plan.copies[u] + 1)
            for site in sites_of(fixed, u):
                time = site_time(fixed, plan, site) + share
                if time < best and can_put(fixed, plan, u, site):
                    best, best_u, best_site = time, u, site
        if best_u < 0:
            return
        put(fixed, plan, best_u, best_site)
