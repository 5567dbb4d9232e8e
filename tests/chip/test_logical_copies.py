"""What a chip holds does not say where."""

from __future__ import annotations

from dataclasses import replace

from cimsim.chip import LogicalCopies, Placement, Seat, Unit, UnitKey, tile_matrix
from cimsim.config import Tile
from cimsim.workload.matrix import Matrix, MatrixId

ROUTER = UnitKey(0, "router")
EXPERTS = [UnitKey(0, "experts", e) for e in range(5)]


def _unit(key: UnitKey) -> Unit:
    role = "router" if key == ROUTER else "gate"
    matrix = Matrix(MatrixId(key.layer, role, key.expert), 8, 4)
    return Unit(key, (tile_matrix(matrix, Tile()),))


UNITS = {key: _unit(key) for key in (ROUTER, *EXPERTS)}


def _resident(crossbars: dict[UnitKey, tuple[int, ...]]) -> Placement:
    seats = tuple(Seat(key, r, (c,)) for key, own in crossbars.items() for r, c in enumerate(own))
    return Placement(4, 5, seats, UNITS)


def test_placements_that_hold_the_same_are_the_same() -> None:
    first = {key: (i,) for i, key in enumerate(UNITS)} | {EXPERTS[2]: (3, 9)}
    moved = {key: tuple(19 - c for c in own) for key, own in reversed(first.items())}
    copies = LogicalCopies.of(_resident(first))
    assert copies == LogicalCopies.of(_resident(moved))
    assert copies.resident == dict.fromkeys(UNITS, 1) | {EXPERTS[2]: 2}
    assert copies.idle_crossbars == 20 - 7
    assert not copies.slots
    other = LogicalCopies.of(_resident(first | {EXPERTS[2]: (3,)}))
    assert copies != other


def test_slots_are_dealt_to_the_experts_of_their_chip_in_turn() -> None:
    placement = Placement(
        crossbars_per_tile=2,
        n_tiles=4,
        seats=(Seat(ROUTER, 0, (0,)), Seat(EXPERTS[3], 0, (2,)), Seat(EXPERTS[1], 0, (4,))),
        units=UNITS,
        slots=((1,), (2,), (4,)),
        absent=(EXPERTS[4], EXPERTS[0], EXPERTS[2]),
        slot_chips=(0, 0, 1),
        homes={key: key.expert % 2 for key in EXPERTS if key.expert != 3},  # 3 stays on chip 0
    )
    copies = LogicalCopies.of(placement)
    assert copies.resident == {ROUTER: 1}
    assert copies.starts == {EXPERTS[3]: 1, EXPERTS[1]: 2}
    assert copies.dealt == {
        EXPERTS[0]: 0, EXPERTS[2]: 1, EXPERTS[3]: 0, EXPERTS[4]: 1, EXPERTS[1]: 2,
    }  # fmt: skip
    assert copies.idle_crossbars == 8 - 4
    late = replace(placement, absent=placement.absent[::-1])
    assert LogicalCopies.of(late) == copies
