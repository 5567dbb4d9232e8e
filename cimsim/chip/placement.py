"""Where units sit: copies of units on crossbars of tiles.

A crossbar has a global number: tile x crossbars per tile + its index in the tile, tier by tier
where tiles have several. A seat is
one copy of a unit; its crossbars are in the order of the unit's tilings, fragments in
row-major order. On a chip that switches experts, slots are runs of crossbars that hold
one expert at a time; a seat that starts out in a slot may be evicted from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cimsim.chip.units import Unit, UnitKey
from cimsim.config import Tile
from cimsim.errors import CimsimInternalError

__all__ = [
    "Placement", "Seat", "copy_of_token", "crossbar_numbers", "pe_numbers", "tier_numbers",
    "token_turn",
]  # fmt: skip


def token_turn(sequence: NDArray[np.int64], position: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the turn of each token, [n]: turn mod copies is the copy that serves it.

    A static rule, sequence + position: independent of scheduling, so that routing traces
    replay exactly, and even over any run of tokens.
    """
    turn: NDArray[np.int64] = sequence + position
    return turn


def copy_of_token(
    sequence: NDArray[np.int64], position: NDArray[np.int64], copies: int
) -> NDArray[np.int64]:
    """Return which of several copies of a unit serves each token, [n], from 0."""
    return token_turn(sequence, position) % copies


@dataclass(frozen=True)
class Seat:
    """One copy of a unit on crossbars.

    Attributes:
        unit: whose copy.
        replica: 0 for the first copy.
        crossbars: global crossbar numbers, one a fragment; a range where they are consecutive.
    """

    unit: UnitKey
    replica: int
    crossbars: Sequence[int]


def crossbar_numbers(crossbars: Sequence[int]) -> NDArray[np.int64]:
    """Return crossbars as an array, without visiting every one of a range."""
    if isinstance(crossbars, range):
        return np.arange(crossbars.start, crossbars.stop, crossbars.step, dtype=np.int64)
    return np.array(crossbars, dtype=np.int64)


def pe_numbers(crossbars: Sequence[int], tile: Tile) -> NDArray[np.int64]:
    """Return the PE of every crossbar, numbered over the chip; tiers share the PEs below them."""
    number = crossbar_numbers(crossbars)
    if tile.tiers > 1:
        number = number // tile.stacked_crossbars * tile.crossbars + number % tile.crossbars
    found: NDArray[np.int64] = number // tile.pe.crossbars
    return found


def tier_numbers(crossbars: Sequence[int], tile: Tile) -> NDArray[np.int64]:
    """Return the tier of its tile that every crossbar is on, from 0."""
    found: NDArray[np.int64] = crossbar_numbers(crossbars) // tile.crossbars % tile.tiers
    return found


@dataclass(frozen=True)
class Placement:
    """Copies of every unit on the crossbars of a chip.

    Attributes:
        crossbars_per_tile: crossbars of a tile.
        n_tiles: tiles of the chip.
        seats: resident copies.
        units: the units placed, by key.
        slots: switchable runs of crossbars, empty on a chip where all experts are resident.
        absent: experts that no slot holds at the start.
        slot_chips: chip of every slot; empty if all are on chip 0.
        homes: chip in whose slots a switched expert lives, by key; 0 if not named.
    """

    crossbars_per_tile: int
    n_tiles: int
    seats: tuple[Seat, ...]
    units: dict[UnitKey, Unit] = field(repr=False)
    slots: tuple[tuple[int, ...], ...] = ()
    absent: tuple[UnitKey, ...] = ()
    slot_chips: tuple[int, ...] = ()
    homes: dict[UnitKey, int] = field(default_factory=dict, repr=False)

    @cached_property
    def seats_of(self) -> dict[UnitKey, tuple[Seat, ...]]:
        """Copies of every resident unit in replica order."""
        found: dict[UnitKey, list[Seat]] = {}
        for seat in self.seats:
            found.setdefault(seat.unit, []).append(seat)
        return {k: tuple(sorted(v, key=lambda s: s.replica)) for k, v in found.items()}

    def tiles_of(self, seat: Seat) -> tuple[int, ...]:
        """Tiles that a seat touches, in the order of its crossbars, each once."""
        return tuple(dict.fromkeys(c // self.crossbars_per_tile for c in seat.crossbars))

    def tile_of(self, crossbar: int) -> int:
        """Tile of a crossbar."""
        return crossbar // self.crossbars_per_tile

    @cached_property
    def _slots_of_chip(self) -> dict[int, tuple[int, ...]]:
        found: dict[int, list[int]] = {}
        for slot, chip in enumerate(self.slot_chips or (0,) * len(self.slots)):
            found.setdefault(chip, []).append(slot)
        return {chip: tuple(slots) for chip, slots in found.items()}

    def slots_for(self, key: UnitKey) -> tuple[int, ...]:
        """Numbers of the slots that a switched expert may take: those of its chip."""
        return self._slots_of_chip.get(self.homes.get(key, 0), ())

    @cached_property
    def cells_used(self) -> int:
        """Cells that hold a weight, over all resident copies."""
        return sum(self.units[s.unit].cells for s in self.seats)

    @cached_property
    def occupied_tiles(self) -> NDArray[np.int64]:
        """Tiles that hold at least one weight, in rising order."""
        held = np.zeros(self.n_tiles, dtype=np.bool_)
        for crossbars in (*(s.crossbars for s in self.seats), *self.slots):
            held[crossbar_numbers(crossbars) // self.crossbars_per_tile] = True
        return np.flatnonzero(held)

    def check(self) -> None:
        """Check that no crossbar is used twice and every number exists.

        Raises:
            CimsimInternalError: if a policy produced an impossible placement.
        """
        used = [c for s in self.seats for c in s.crossbars]
        if len(used) != len(set(used)):
            message = "placement puts two copies on one crossbar"
            raise CimsimInternalError(message)
        if used and not 0 <= min(used) <= max(used) < self.n_tiles * self.crossbars_per_tile:
            message = "placement names a crossbar that the chip does not have"
            raise CimsimInternalError(message)
        for seat in self.seats:
            if len(seat.crossbars) != self.units[seat.unit].crossbars:
                message = f"seat of {seat.unit} has the wrong number of crossbars"
                raise CimsimInternalError(message)
