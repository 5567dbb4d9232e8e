"""Expert placement and replication: where experts sit on the tiles of a chip.

    problem = MappingProblem(units, layer, crossbars, time_ps, ...)
    assignment = solve(problem, "auto", seed=0)
    evaluate(problem, assignment).slowest_tile_ps

Pure functions of loads, traffic, the chip's geometry and a seed. `place_slots` takes the
problem as EPLB states it: expert slots on devices.

Public names are imported on first use: ``python -m moe_mapping`` imports this package before it
can take signals.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_LAZY = {
    "Assignment": "assignment",
    "MappingProblem": "problem",
    "Objective": "objective",
    "SlotPlan": "slots",
    "Weights": "problem",
    "evaluate": "objective",
    "lower_bound_ps": "objective",
    "no_traffic": "problem",
    "place_slots": "slots",
    "policies": "registry",
    "register_policy": "registry",
    "solve": "registry",
    "tile_times_ps": "objective",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(f"moe_mapping.{_LAZY[name]}"), name)
    message = f"module 'moe_mapping' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)
