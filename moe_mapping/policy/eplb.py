"""Expert-parallel load balancing as DeepSeek published it: replicate, then pack.

Method: DeepSeek-V3 technical report (arXiv 2412.19437) section 3.4 and the description of
EPLB (github.com/deepseek-ai/EPLB, README). *Global*: the next replica always goes to the
expert with the largest load per copy; copies are packed longest first, each to the least
loaded device with a free slot. *Hierarchical*: expert groups are packed evenly to nodes
first, so that a group's traffic stays in a node; then each node replicates and packs by
itself. The rule between them is also theirs: hierarchical where groups divide evenly over
nodes. Two copies of an expert on one device are not forbidden by the method.

It stays as the published method that others compare with; never alone the best in the ablation
(`cimsim bench mapping --ablation`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.errors import CimsimError
from moe_mapping.assignment import Assignment
from moe_mapping.packing import pack, replica_counts
from moe_mapping.plan import allow_twins, arrays_of, assignment_of
from moe_mapping.problem import MappingProblem
from moe_mapping.registry import register_policy
from moe_mapping.state import Fixed, WorkingPlan

__all__ = ["divides", "place", "place_global", "place_hierarchical", "replicate_and_pack"]

Ints = NDArray[np.int64]


@register_policy("eplb")
def place(problem: MappingProblem, seed: int) -> Assignment:
    """Choose hierarchical or global by the published rule."""
    if divides(problem):
        return place_hierarchical(problem, seed)
    return place_global(problem, seed)


@register_policy("eplb_global")
def place_global(problem: MappingProblem, seed: int) -> Assignment:  # noqa: ARG001 - not random
    """Replicate and pack over all tiles."""
    fixed = arrays_of(problem)
    return assignment_of(fixed, replicate_and_pack(fixed))


def replicate_and_pack(fixed: Fixed) -> WorkingPlan:
    """Return the plan of the global method; copies of a unit may share a tile."""
    loose = allow_twins(fixed, int(fixed.room.sum()) + fixed.class_site.size)
    return pack(loose, replica_counts(loose, fill=True))


@register_policy("eplb_hierarchical")
def place_hierarchical(problem: MappingProblem, seed: int) -> Assignment:
    """Pack groups to nodes, then replicate and pack inside every node.

    Raises:
        CimsimError: if the problem has no nodes, or groups that don't divide over them.
    """
    if not divides(problem) or problem.group is None or problem.node is None:
        raise CimsimError(
            "hierarchical placement needs more than one node and groups that divide over them",
            hint="use the global policy",
        )
    node_of_group = _groups_to_nodes(problem.group, problem.node, problem.time_ps)
    node_of_unit = node_of_group[problem.group]
    copies: list[tuple[tuple[tuple[int, int], ...], ...]] = [()] * problem.n_units
    for node in range(int(problem.node.max()) + 1):
        units = np.flatnonzero(node_of_unit == node)
        tiles = np.flatnonzero(problem.node == node)
        inner = place_global(_inside(problem, units, tiles), seed)
        for unit, mine in zip(units, inner.copies, strict=True):
            copies[unit] = tuple(tuple((int(tiles[t]), x) for t, x in copy) for copy in mine)
    return Assignment(tuple(copies))


def divides(problem: MappingProblem) -> bool:
    """Tell whether groups and nodes are known and go together."""
    if problem.group is None or problem.node is None:
        return False
    nodes = int(problem.node.max()) + 1
    return nodes > 1 and (int(problem.group.max()) + 1) % nodes == 0


def _groups_to_nodes(group: Ints, node: Ints, time_ps: NDArray[np.float64]) -> Ints:
    """Give groups, heaviest first, to the lightest node; every node takes equally many."""
    nodes = int(node.max()) + 1
    loads = np.bincount(group, weights=time_ps)
    slots = loads.size // nodes
    total, taken = np.zeros(nodes), np.zeros(nodes, dtype=np.int64)
    node_of_group = np.zeros(loads.size, dtype=np.int64)
    for g in np.argsort(-loads, kind="stable"):
        best = int(np.argmin(np.where(taken < slots, total, np.inf)))
        node_of_group[g] = best
        total[best] += loads[g]
        taken[best] += 1
    return node_of_group


def _inside(problem: MappingProblem, units: Ints, tiles: Ints) -> MappingProblem:
    """Return the part of a problem that one node sees, with its even part of the budget."""
    spare = int(problem.capacity[tiles].sum() - problem.crossbars[units].sum())
    nodes = int(problem.node.max()) + 1 if problem.node is not None else 1
    return replace(
        problem,
        units=tuple(problem.units[u] for u in units),
        layer=problem.layer[units],
        crossbars=problem.crossbars[units],
        time_ps=problem.time_ps[units],
        replicable=problem.replicable[units],
        traffic_bytes=problem.traffic_bytes[units][:, units],
        capacity=problem.capacity[tiles],
        hops=problem.hops[np.ix_(tiles, tiles)],
        current=None,
        replica_budget=min(max(spare, 0), problem.budget // nodes),
        group=None,
        node=None,
    )
