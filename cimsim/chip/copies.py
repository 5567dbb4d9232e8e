"""What a chip holds, without where: all that numbers may know of a placement.

Cell errors belong to a copy of a matrix and to its silicon, never to a place
(`cimsim.mac.writing`). What computes numbers therefore gets this and not the mesh or the
placement, so that what must not change a number cannot reach it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from cimsim.chip.placement import Placement
from cimsim.chip.units import Unit, UnitKey

__all__ = ["LogicalCopies"]


@dataclass(frozen=True)
class LogicalCopies:
    """Copies of every unit on a chip.

    Attributes:
        units: the units that are placed.
        resident: copies of every unit that keeps its cells.
        slots: of every chip that switches experts, these in program order and the numbers of
            the slots that they share.
        starts: slot of every switched expert that is in one when a run starts.
        idle_crossbars: crossbars that hold nothing.
    """

    units: Mapping[UnitKey, Unit] = field(repr=False)
    resident: Mapping[UnitKey, int]
    slots: tuple[tuple[tuple[UnitKey, ...], tuple[int, ...]], ...]
    starts: Mapping[UnitKey, int]
    idle_crossbars: int

    @classmethod
    def of(cls, placement: Placement) -> LogicalCopies:
        """Return what a placement holds."""
        number = {slot[0]: i for i, slot in enumerate(placement.slots)}
        seats = placement.seats_of
        starts = {
            key: number[own[0].crossbars[0]]
            for key, own in seats.items()
            if own[0].crossbars[0] in number
        }
        moves = {*starts, *placement.absent}
        by_chip: dict[tuple[int, ...], list[UnitKey]] = {}
        for key in placement.units:
            if key in moves:
                by_chip.setdefault(placement.slots_for(key), []).append(key)
        used = {c for seat in placement.seats for c in seat.crossbars}
        used |= {c for slot in placement.slots for c in slot}
        return cls(
            placement.units,
            {key: len(own) for key, own in seats.items() if key not in moves},
            tuple((tuple(keys), slots) for slots, keys in by_chip.items()),
            starts,
            placement.n_tiles * placement.crossbars_per_tile - len(used),
        )

    @cached_property
    def dealt(self) -> Mapping[UnitKey, int]:
        """Slot of every switched expert when slots are dealt to experts in turn."""
        return {
            key: slots[turn % len(slots)]
            for keys, slots in self.slots
            for turn, key in enumerate(keys)
        }
