"""Expert placement and replication: where experts sit on the tiles of a chip.

    problem = MappingProblem(units, layer, crossbars, time_ps, ...)
    assignment = solve(problem, "auto", seed=0)
    evaluate(problem, assignment).slowest_tile_ps

Pure functions of loads, traffic, the chip's geometry and a seed. `place_slots` takes the
problem as EPLB states it: expert slots on devices.
"""

from moe_mapping.assignment import Assignment
from moe_mapping.objective import Objective, evaluate, lower_bound_ps, tile_times_ps
from moe_mapping.problem import MappingProblem, Weights, no_traffic
from moe_mapping.registry import policies, register_policy, solve
from moe_mapping.slots import SlotPlan, place_slots

__all__ = [
    "Assignment",
    "MappingProblem",
    "Objective",
    "SlotPlan",
    "Weights",
    "evaluate",
    "lower_bound_ps",
    "no_traffic",
    "place_slots",
    "policies",
    "register_policy",
    "solve",
    "tile_times_ps",
]
