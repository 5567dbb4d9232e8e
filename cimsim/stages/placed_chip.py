"""A chip with a program placed on it: built in one place and handed on whole.

Time, energy and area are computed from it. What computes numbers does not get it: cell errors
belong to copies of matrices and not to places, so the functional path gets `copies` alone, and
what must not change a number cannot reach it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import ChipMesh, LogicalCopies, Placement, Unit, analog_units, build_system
from cimsim.config import ChipConfig
from cimsim.cost import CostModel
from cimsim.stages.placing import all_fit, place, problem_of, units_by_chip
from cimsim.workload.program import Program
from cimsim.workload.trace import RoutingTrace
from moe_mapping.assignment import Assignment
from moe_mapping.registry import solve

__all__ = ["PlacedChip", "place_chip", "tile_load_ps"]


@dataclass(frozen=True)
class PlacedChip:
    """A chip with a program placed on it; `place_chip` and `fit_shape` make one.

    Attributes:
        config: the chip.
        program: the model's operations.
        mesh: the chip's geometry.
        cost: its prices and closed-form times.
        placement: where every copy of every unit sits.
        assignment: the policy's answer that it carries out; None where none was asked: on chips
            that switch experts or hold no matrix, on several chips, on fitted shapes.
    """

    config: ChipConfig
    program: Program
    mesh: ChipMesh
    cost: CostModel
    placement: Placement
    assignment: Assignment | None = None

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """What is on crossbars, in program order."""
        return analog_units(self.program, self.config)

    @cached_property
    def copies(self) -> LogicalCopies:
        """What the chip holds, without where: all that the functional path may know."""
        return LogicalCopies.of(self.placement)


def place_chip(config: ChipConfig, program: Program, expected: RoutingTrace) -> PlacedChip:
    """Place a program on a chip with the configured policy.

    Args:
        config: the chip.
        program: the model's operations.
        expected: routing that the placement expects; a chip is placed before it is programmed.

    Raises:
        CimsimError: if the program does not fit.
    """
    units = analog_units(program, config)
    mesh = build_system(config, units)
    cost = CostModel(config, mesh, program)
    placed = place(config, mesh, program, units, cost, expected)
    return PlacedChip(config, program, mesh, cost, placed.placement, placed.assignment)


def tile_load_ps(chip: PlacedChip, trace: RoutingTrace, policy: str) -> NDArray[np.int64]:
    """Return what tiles would carry under another policy without copies, [tiles].

    Sum over visits of vectors x interval, on every tile that the unit touches; zeros if the
    units do not fit.

    Args:
        chip: the chip with its program.
        trace: routing to carry.
        policy: name of the placement policy.
    """
    config, mesh = chip.config, chip.mesh
    load = np.zeros(mesh.n_tiles, dtype=np.int64)
    by_chip = units_by_chip(config, chip.units)
    if not chip.units or not all_fit(mesh, by_chip):
        return load
    bare = config.model_copy(
        update={"mapping": config.mapping.model_copy(update={"replicas": False})}
    )
    for number, own in enumerate(by_chip):
        problem = problem_of(bare, mesh, chip.program, own, chip.cost, trace)
        assignment = solve(problem, policy, config.run.seed)
        for time_ps, copies in zip(problem.time_ps, assignment.copies, strict=True):
            for tile, _ in copies[0]:
                load[number * mesh.chip_tiles + tile] += int(time_ps)
    return load
