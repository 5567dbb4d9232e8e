"""Co-activation-aware partition: units that talk to each other share a part of the chip.

Recursive bisection of the chip and of the traffic graph together: tiles are split into a
near and a far half, the copies that sit there are exchanged between the halves as long as
that cuts traffic (Kernighan and Lin, Bell System Technical Journal 49, 1970) and keeps
each half's load, then each half is split again, down to single tiles. So what talks most
ends up on one tile, and what talks much on neighbouring ones.

Never alone the best in the ablation; it stays because the default starts it from a compacted plan,
from which no other way is as good on some chips (hermes and neurram with the OLMoE model).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moe_mapping.anneal import anneal
from moe_mapping.balance import lower_peak
from moe_mapping.bisect import exchange_halves
from moe_mapping.plan import copy_plan
from moe_mapping.policy.local_search import search
from moe_mapping.problem import MappingProblem
from moe_mapping.registry import register_search
from moe_mapping.state import Fixed, WorkingPlan, peak, rebuild, value

__all__ = ["affinity", "part", "partition"]

Ints = NDArray[np.int64]

_STEPS = 2000
_POLISH = 200  # proposals per unit
_COLD = 1e-4  # so cold that only gains are taken

SLACK = 0.02
"""A half may exceed its load before the exchange by this share of it."""


@register_search("affinity")
def affinity(problem: MappingProblem, fixed: Fixed, seed: int) -> WorkingPlan:
    """Balance the load, then partition by traffic where the objective gains by it."""
    return part(problem, fixed, search(problem, fixed, seed), seed)


def part(problem: MappingProblem, fixed: Fixed, plan: WorkingPlan, seed: int) -> WorkingPlan:
    """Return the partitioned plan, balanced again tile by tile, or the one given if better.

    Exchanges that the halves did not see, but the whole objective gains by, end it.
    """
    if fixed.price[1] == 0.0:
        return plan
    parted = copy_plan(plan)
    partition(problem, fixed, parted)
    evened = copy_plan(parted)
    lower_peak(fixed, evened, peak(plan), _STEPS, 0, 0)
    best = copy_plan(min((plan, parted, evened), key=lambda found: value(fixed, found)))
    anneal(fixed, best, _POLISH * problem.n_units, _COLD, _COLD, seed)
    return best


def partition(problem: MappingProblem, fixed: Fixed, plan: WorkingPlan) -> None:
    """Exchange copies between halves of the chip, level by level; changes the plan."""
    if fixed.traffic_unit.size == 0:
        return
    home = fixed.site_tile[fixed.site_start[:-1]]  # a wide site counts where it starts
    blocks = [np.arange(problem.n_tiles)]
    while blocks:
        block = blocks.pop()
        if block.size < 2:
            continue
        near, far = _halves(problem.hops, block)
        side = np.full(problem.n_tiles, -1, dtype=np.int64)
        side[near], side[far] = 0, 1
        exchange_halves(fixed, plan, side[home], SLACK)
        blocks += [far, near]
    rebuild(fixed, plan)


def _halves(hops: Ints, block: Ints) -> tuple[Ints, Ints]:
    """Split tiles at the median between two far corners of the block."""
    inner = hops[np.ix_(block, block)]
    corner = int(np.argmax(inner.sum(axis=1)))
    opposite = int(np.argmax(inner[corner]))
    lean = inner[corner] - inner[opposite]
    # Of tiles on the dividing line, those near a third corner come first: straight cuts.
    third = int(np.argmax(inner[corner] + inner[opposite]))
    order = np.lexsort((np.arange(block.size), inner[third], lean))
    half = block.size // 2
    return block[np.sort(order[:half])], block[np.sort(order[half:])]
