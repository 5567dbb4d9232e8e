"""Longest processing time first, without replicas (Graham 1969)."""

from __future__ import annotations

import numpy as np

from moe_mapping.assignment import Assignment
from moe_mapping.packing import pack
from moe_mapping.plan import assignment_of, fixed_of
from moe_mapping.problem import MappingProblem

__all__ = ["place"]


def place(problem: MappingProblem, seed: int) -> Assignment:  # noqa: ARG001 - not random
    """Give units, hottest first, to the least loaded tile with room."""
    fixed = fixed_of(problem)
    return assignment_of(fixed, pack(fixed, np.ones(problem.n_units, dtype=np.int64)))
