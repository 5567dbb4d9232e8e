"""Chips that are too small for their experts: dense blocks stay, experts come and go in slots.

Every chip of a system keeps slots of its own for the experts that live on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from cimsim.chip import ChipMesh, Placement, Seat, Unit, UnitKey
from cimsim.errors import CimsimError

__all__ = ["place_with_slots"]


def place_with_slots(
    mesh: ChipMesh,
    by_chip: Sequence[tuple[Unit, ...]],
    vectors: Mapping[UnitKey, int],
    top_k: int,
) -> Placement:
    """Fix dense blocks, cut the rest of every chip into slots, load its busiest experts.

    Slots stay inside a tile where an expert fits into one; dense blocks fill tiles in order.

    Args:
        mesh: the geometry.
        by_chip: units of every chip in program order.
        vectors: input vectors that every unit expects.
        top_k: experts that a token visits in a layer.

    Raises:
        CimsimError: if a chip has no room for what must be there at once.
    """
    size = max((u.crossbars for own in by_chip for u in own if _moves(u)), default=0)
    seats: list[Seat] = []
    slots: list[tuple[int, ...]] = []
    slot_chips: list[int] = []
    absent: list[UnitKey] = []
    for chip, own in enumerate(by_chip):
        _check_room(mesh, chip, own, size, top_k)
        taken = chip * mesh.chip_tiles * mesh.crossbars_per_tile
        for unit in own:
            if not _moves(unit):
                seats.append(Seat(unit.key, 0, tuple(range(taken, taken + unit.crossbars))))
                taken += unit.crossbars
        experts = sorted((u for u in own if _moves(u)), key=lambda u: -vectors[u.key])
        room = _cut(mesh, chip, taken, size) if experts else []
        if experts and not room:
            raise CimsimError(
                f"chip {chip} has no room for a slot of {size} crossbars beside what never leaves",
                key="chip.tiles",
                value=mesh.chip_tiles,
                allowed="more tiles, or fit",
            )
        for slot, unit in zip(room, experts, strict=False):
            seats.append(Seat(unit.key, 0, slot[: unit.crossbars]))
        late = {u.key for u in experts[len(room) :]}
        absent += [u.key for u in own if u.key in late]
        slots += room
        slot_chips += [chip] * len(room)
    placement = Placement(
        crossbars_per_tile=mesh.crossbars_per_tile,
        n_tiles=mesh.n_tiles,
        seats=tuple(seats),
        units={u.key: u for own in by_chip for u in own},
        slots=tuple(slots),
        absent=tuple(absent),
        slot_chips=tuple(slot_chips),
        homes={u.key: chip for chip, own in enumerate(by_chip) for u in own if _moves(u)},
    )
    placement.check()
    return placement


def _moves(unit: Unit) -> bool:
    return unit.key.part == "experts"


def _check_room(mesh: ChipMesh, chip: int, own: Sequence[Unit], size: int, top_k: int) -> None:
    """Check that a chip holds what never leaves it and the experts of one token and layer."""
    fixed = sum(u.crossbars for u in own if not _moves(u))
    in_layer = Counter(u.key.layer for u in own if _moves(u))
    at_once = min(top_k, max(in_layer.values(), default=0))
    room = mesh.chip_tiles * mesh.crossbars_per_tile
    short = fixed + at_once * size - room
    if short <= 0:
        return
    which = "the chip" if mesh.chips == 1 else f"chip {chip} of {mesh.chips}"
    raise CimsimError(
        f"{which} has {room} crossbars; the parts that never leave need {fixed} and the "
        f"experts of one token {at_once * size}: {short} short",
        key="chip.tiles",
        value=mesh.chip_tiles,
        allowed=f"at least {-(-(room + short) // mesh.crossbars_per_tile)} tiles, or fit",
    )


def _cut(mesh: ChipMesh, chip: int, taken: int, size: int) -> list[tuple[int, ...]]:
    """Cut what is free on a chip into slots."""
    per_tile = mesh.crossbars_per_tile
    first_tile, end_tile = chip * mesh.chip_tiles, (chip + 1) * mesh.chip_tiles
    starts: list[int] = []
    if size > per_tile:
        starts += range(taken, end_tile * per_tile - size + 1, size)
    else:
        for tile in range(first_tile, end_tile):
            first, end = max(taken, tile * per_tile), (tile + 1) * per_tile
            starts += range(first, end - size + 1, size)
    return [tuple(range(start, start + size)) for start in starts]
