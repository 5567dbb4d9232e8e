"""Which chip of a system holds which unit.

*layers*: units in program order are cut into one run per chip so that the fullest chip holds as
few crossbars as possible; cuts fall between layers where there are at least as many layers as
chips. A token then crosses chips once a cut. *experts*: expert e of every layer sits on chip
e mod chips, all else of layer l of L on chip l x chips // L: tokens cross chips in every layer,
and the load of hot layers is shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from cimsim.chip.mesh import ChipMesh, build_mesh
from cimsim.chip.placement import Seat
from cimsim.chip.units import Unit
from cimsim.config import ChipConfig, Tile
from cimsim.errors import CimsimError

__all__ = ["assign_chips", "build_system", "seats_in_order"]


def assign_chips(config: ChipConfig, units: Sequence[Unit]) -> tuple[int, ...]:
    """Return the chip of every unit.

    Args:
        config: says how many chips there are and what is spread over them.
        units: all units of the program in program order.
    """
    chips = config.system.chips
    if chips == 1:
        return (0,) * len(units)
    layers = 1 + max((u.key.layer for u in units), default=0)
    if config.system.placement == "experts":
        return tuple(
            u.key.expert % chips if u.key.part == "experts" else u.key.layer * chips // layers
            for u in units
        )
    if layers >= chips:
        pieces = [list(g) for _, g in groupby(range(len(units)), lambda i: units[i].key.layer)]
    else:
        pieces = [[i] for i in range(len(units))]
    sizes = [sum(units[i].crossbars for i in piece) for piece in pieces]
    chip_of = [0] * len(units)
    for piece, chip in zip(pieces, _cut(sizes, chips), strict=True):
        for i in piece:
            chip_of[i] = chip
    return tuple(chip_of)


def build_system(config: ChipConfig, units: Sequence[Unit]) -> ChipMesh:
    """Lay out the chips of a system: the given tile count, or the smallest that fits.

    Args:
        config: the chip and the number of chips.
        units: everything analog.

    Raises:
        CimsimError: if a chip is too small for its units, which are not switched.
    """
    load = [0] * config.system.chips
    for unit, chip in zip(units, assign_chips(config, units), strict=True):
        load[chip] += unit.crossbars
    try:
        return build_mesh(config, max(load))
    except CimsimError as error:
        if config.system.chips == 1:
            raise
        full = load.index(max(load))
        raise CimsimError(
            f"chip {full} of {config.system.chips} holds the most: {error.message}",
            key=error.key,
            value=error.value,
            allowed=error.allowed,
            hint=error.hint,
        ) from error


def seats_in_order(config: ChipConfig, mesh: ChipMesh, units: Sequence[Unit]) -> tuple[Seat, ...]:
    """Return one copy of every unit, in program order on consecutive crossbars of its chip.

    Where tiles have tiers, the first tier of all tiles is filled first, then the next one: what
    runs together then lies on one tier of several stacks, not on several tiers of one.

    Args:
        config: says what is spread over the chips.
        mesh: the geometry, with room for every unit on its chip.
        units: all units in program order.
    """
    room = mesh.chip_tiles * mesh.crossbars_per_tile
    free = [chip * room for chip in range(mesh.chips)]
    seats = []
    for unit, chip in zip(units, assign_chips(config, units), strict=True):
        start = free[chip]
        free[chip] += unit.crossbars
        crossbars = range(start, free[chip])
        seats.append(Seat(unit.key, 0, _tier_by_tier(config.tile, mesh, crossbars)))
    return tuple(seats)


def _tier_by_tier(tile: Tile, mesh: ChipMesh, turn: range) -> Sequence[int]:
    """Return the crossbars of a chip whose turn it is, counted tier by tier over all tiles."""
    if tile.tiers == 1:
        return turn
    chip, place = np.divmod(np.array(turn), mesh.chip_tiles * mesh.crossbars_per_tile)
    tier, place = np.divmod(place, mesh.chip_tiles * tile.crossbars)
    number, place = np.divmod(place, tile.crossbars)
    found = (chip * mesh.chip_tiles + number) * tile.stacked_crossbars
    return tuple((found + tier * tile.crossbars + place).tolist())


def _cut(sizes: Sequence[int], chips: int) -> list[int]:
    """Cut pieces into at most `chips` runs so that the largest is smallest; chip of each."""
    low, high = max(sizes, default=0), sum(sizes)
    while low < high:
        room = (low + high) // 2
        if 1 + _runs(sizes, room)[-1] <= chips:
            high = room
        else:
            low = room + 1
    return _runs(sizes, low) if sizes else []


def _runs(sizes: Sequence[int], room: int) -> list[int]:
    """Fill runs of `room` in order; return the run of every piece."""
    run = held = 0
    found = []
    for size in sizes:
        if held + size > room:
            run, held = run + 1, 0
        held += size
        found.append(run)
    return found
