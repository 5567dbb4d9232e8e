"""Units of placement: what is put on tiles as a whole.

A routed expert (its gate, up and down) is one unit, because the router selects it as a
whole; attention, router and shared blocks of a layer are one unit each; the head is one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

from cimsim.chip.tiling import Tiling, tile_matrix
from cimsim.config import AnalogPart, ChipConfig
from cimsim.workload.matrix import NO_EXPERT, Matrix, MatrixId
from cimsim.workload.program import Program

__all__ = ["Unit", "UnitKey", "analog_units"]


class UnitKey(NamedTuple):
    """Name of a unit.

    Attributes:
        layer: decoder layer (the head has the number of layers).
        part: attention, router, experts, shared or head.
        expert: routed expert, or -1.
    """

    layer: int
    part: str
    expert: int = NO_EXPERT

    @classmethod
    def of(cls, matrix: MatrixId) -> UnitKey:
        """Return the unit that a matrix is placed with."""
        return cls(matrix.layer, matrix.part, matrix.routed)

    def __str__(self) -> str:
        expert = "" if self.expert == NO_EXPERT else f".{self.expert}"
        return f"{self.layer}.{self.part}{expert}"


@dataclass(frozen=True)
class Unit:
    """Matrices that are placed together.

    Attributes:
        key: name.
        tilings: the matrices and how each is cut, in program order.
    """

    key: UnitKey
    tilings: tuple[Tiling, ...]

    @property
    def summed(self) -> bool:
        """Whether results are added to those of other units: of experts and what is beside them."""
        shared = self.key.part == "shared" and self.tilings[0].matrix.id.role != "product"
        return shared or self.key.part == "experts"

    @property
    def vectors(self) -> int:
        """Vectors of a token that every matrix takes; not of a routed unit alone."""
        return self.tilings[0].matrix.vectors

    @property
    def crossbars(self) -> int:
        """Crossbars that one copy takes, one matrix a crossbar."""
        return sum(t.crossbars for t in self.tilings)

    @property
    def cells(self) -> int:
        """Cells that one copy programs."""
        return sum(t.cells for t in self.tilings)

    def stages(self) -> list[tuple[str, Unit]]:
        """Return what takes its inputs together, in order: several stages in attention alone."""
        if self.key.part != "attention":
            return [("all", self)]
        groups = groupby(self.tilings, key=lambda t: t.matrix.id.stage)
        return [(name, replace(self, tilings=tuple(tilings))) for name, tilings in groups]


def analog_units(program: Program, config: ChipConfig) -> tuple[Unit, ...]:
    """Return the units whose matrices sit on crossbars, in program order."""
    parts: tuple[AnalogPart, ...] = config.chip.analog_parts
    units: list[Unit] = []

    def add(layer: int, part: str, matrices: tuple[Matrix, ...], expert: int = NO_EXPERT) -> None:
        if matrices and part in parts:
            tilings = tuple(tile_matrix(m, config.tile) for m in matrices)
            units.append(Unit(UnitKey(layer, part, expert), tilings))

    for layer in program.layers:
        add(layer.index, "attention", layer.attention)
        add(layer.index, "router", layer.router)
        for expert, matrices in enumerate(layer.experts):
            add(layer.index, "experts", matrices, expert)
        add(layer.index, "shared", layer.shared)
    if program.has_head:
        add(len(program.layers), "head", (program.head,))
    return tuple(units)
