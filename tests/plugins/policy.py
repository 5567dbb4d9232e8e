"""A mapping policy of a user's own: round robin, from the last tile backwards."""

from __future__ import annotations

from moe_mapping import Assignment, MappingProblem, register_policy
from moe_mapping.registry import policy_named


@register_policy("mirrored")
def place(problem: MappingProblem, seed: int) -> Assignment:
    """Mirror the tiles of round robin."""
    found, last = policy_named("round_robin")(problem, seed), problem.n_tiles - 1
    return Assignment(
        tuple(
            tuple(tuple((last - tile, n) for tile, n in copy) for copy in unit)
            for unit in found.copies
        )
    )
