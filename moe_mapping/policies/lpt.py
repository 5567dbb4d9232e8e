"""Longest processing time first, without replicas (Graham 1969)."""

from __future__ import annotations

import numpy as np

from moe_mapping.assignment import Assignment
from moe_mapping.packing import pack
from moe_mapping.plan import assignment_of
from moe_mapping.problem import MappingProblem
from moe_mapping.state import Fixed, Plan

__all__ = ["longest_first", "place"]


def place(problem: MappingProblem, seed: int) -> Assignment:  # noqa: ARG001 - not random
    """Give units, hottest first, to the least loaded tile with room."""
    return assignment_of(problem.fixed, longest_first(problem.fixed))


def longest_first(fixed: Fixed) -> Plan:
    """Return the packed plan."""
    return pack(fixed, np.ones(fixed.need.size, dtype=np.int64))
