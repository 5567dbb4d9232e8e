"""Longest processing time first, without replicas (Graham 1969).

A baseline of the literature and a start of the local search; never alone the best in the ablation
(`cimsim bench mapping --ablation`).
"""

from __future__ import annotations

import numpy as np

from moe_mapping.packing import pack
from moe_mapping.problem import MappingProblem
from moe_mapping.registry import register_search
from moe_mapping.state import Fixed, WorkingPlan

__all__ = ["longest_first"]


@register_search("lpt")
def longest_first(problem: MappingProblem, fixed: Fixed, seed: int) -> WorkingPlan:
    """Give units, hottest first, to the least loaded tile with room."""
    del problem, seed
    return pack(fixed, np.ones(fixed.need.size, dtype=np.int64))
