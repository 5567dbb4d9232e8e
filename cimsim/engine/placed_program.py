"""What the engine needs of a chip with a program placed on it."""

from __future__ import annotations

from typing import Protocol

from cimsim.chip import ChipMesh, Placement
from cimsim.config import ChipConfig
from cimsim.engine.placed import Costs
from cimsim.workload.program import Program

__all__ = ["PlacedProgram"]


class PlacedProgram(Protocol):
    """A chip with a program placed on it, whoever made it.

    Attributes:
        config: the chip.
        mesh: its geometry.
        placement: where units sit.
        program: the decoder.
        cost: closed-form times.
    """

    @property
    def config(self) -> ChipConfig: ...  # noqa: D102
    @property
    def mesh(self) -> ChipMesh: ...  # noqa: D102
    @property
    def placement(self) -> Placement: ...  # noqa: D102
    @property
    def program(self) -> Program: ...  # noqa: D102
    @property
    def cost(self) -> Costs: ...  # noqa: D102
