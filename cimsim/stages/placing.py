"""Placement of a program on a chip: units, loads and service times to crossbar numbers.

Loads come from the clean model's routing of calibration text, because a chip is placed
before it is programmed. A unit's busy time is its vectors times its interval; experts and
dense blocks talk to the attention block of their layer, whose digital unit sends them
their tokens and gathers their answers. Chips of a system are placed one by one, each with
the units that `cimsim.chip.assign_chips` gives it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cimsim.chip import ChipMesh, Placement, Seat, Unit, assign_chips
from cimsim.config import ChipConfig, Tile
from cimsim.cost import CostModel
from cimsim.errors import CimsimError
from cimsim.stages.slots import place_with_slots
from cimsim.units import ps_from_ns
from cimsim.workload.program import Program
from cimsim.workload.trace import RoutingTrace
from moe_mapping.assignment import Assignment
from moe_mapping.problem import MappingProblem, Weights
from moe_mapping.registry import solve

__all__ = ["SolvedPlacement", "all_fit", "place", "problem_of", "units_by_chip"]

BYTES_PER_ACTIVATION = 1  # activations travel as input codes of at most 8 bits ...
BYTES_PER_WIDE_ACTIVATION = 2  # ... or 16


@dataclass(frozen=True)
class SolvedPlacement:
    """A placement and the problem that it answers.

    Attributes:
        placement: where every copy sits.
        problem: the mapping problem; None on a chip that switches experts or holds no matrix,
            and for several chips.
        assignment: the policy's answer, None where there is no problem.
    """

    placement: Placement
    problem: MappingProblem | None
    assignment: Assignment | None


def place(
    config: ChipConfig,
    mesh: ChipMesh,
    program: Program,
    units: tuple[Unit, ...],
    cost: CostModel,
    trace: RoutingTrace,
) -> SolvedPlacement:
    """Place every unit with the configured policy.

    Args:
        config: the chip.
        mesh: its geometry.
        program: the model.
        units: what is analog.
        cost: service times.
        trace: routing that the placement expects.

    Raises:
        CimsimError: if the units do not fit and experts may not be switched.
    """
    if not units:
        return SolvedPlacement(_place_nothing(mesh), None, None)
    by_chip = units_by_chip(config, units)
    if not all_fit(mesh, by_chip):
        _refuse_switched_tiers(config)
        vectors = dict(zip((u.key for u in units), _vectors(units, program, trace), strict=True))
        return SolvedPlacement(place_with_slots(mesh, by_chip, vectors, program.top_k), None, None)
    seats: list[Seat] = []
    for chip, own in enumerate(by_chip):
        problem = problem_of(config, mesh, program, own, cost, trace)
        assignment = solve(problem, config.mapping.policy, config.run.seed)
        seats += _number_crossbars(config.tile, mesh, own, assignment, chip)
    placement = Placement(
        crossbars_per_tile=mesh.crossbars_per_tile,
        n_tiles=mesh.n_tiles,
        seats=tuple(seats),
        units={u.key: u for u in units},
    )
    placement.check()
    if mesh.chips > 1:
        return SolvedPlacement(placement, None, None)
    return SolvedPlacement(placement, problem, assignment)


def all_fit(mesh: ChipMesh, by_chip: list[tuple[Unit, ...]]) -> bool:
    """Return whether every chip holds all of its units at once."""
    room = mesh.chip_tiles * mesh.crossbars_per_tile
    return all(sum(u.crossbars for u in own) <= room for own in by_chip)


def units_by_chip(config: ChipConfig, units: tuple[Unit, ...]) -> list[tuple[Unit, ...]]:
    """Return the units of every chip of the system."""
    chip_of = assign_chips(config, units)
    return [
        tuple(u for u, c in zip(units, chip_of, strict=True) if c == chip)
        for chip in range(config.system.chips)
    ]


def _vectors(units: tuple[Unit, ...], program: Program, trace: RoutingTrace) -> NDArray[np.int64]:
    """Input vectors of every unit over the trace, [U]."""
    load = trace.load()
    row = {layer: i for i, layer in enumerate(program.moe_layers)}
    return np.array(
        [
            load[row[u.key.layer], u.key.expert] if u.key.part == "experts" else trace.n_tokens
            for u in units
        ],
        dtype=np.int64,
    )


def _interval_ps(unit: Unit, cost: CostModel) -> int:
    """Return the time a vector occupies a unit: an attention block is visited several times."""
    return sum(cost.visit_timing(stage).interval_ps for _, stage in unit.stages())


def problem_of(
    config: ChipConfig,
    mesh: ChipMesh,
    program: Program,
    units: tuple[Unit, ...],
    cost: CostModel,
    trace: RoutingTrace,
) -> MappingProblem:
    """Return the mapping problem of a program on a chip under the loads of a routing."""
    vectors = _vectors(units, program, trace)
    interval = np.array([_interval_ps(u, cost) for u in units], dtype=np.float64)
    if config.tile.tiers > 1:
        # A tile's time is the sum over its tiers, and each visit may find another one active.
        interval += ps_from_ns(config.tile.tier_switch_ns)
    return MappingProblem(
        units=tuple(u.key for u in units),
        layer=np.array([_stage(u, config) for u in units], dtype=np.int64),
        crossbars=np.array([u.crossbars for u in units], dtype=np.int64),
        time_ps=vectors * interval,
        replicable=np.full(len(units), config.mapping.replicas),
        traffic_bytes=_traffic(config, units, vectors),
        capacity=np.full(mesh.chip_tiles, mesh.crossbars_per_tile, dtype=np.int64),
        hops=mesh.tile_hops,
        weights=_weights(config),
    )


def _stage(unit: Unit, config: ChipConfig) -> int:
    """Return what runs at one time for a batch: a layer.

    Where experts on one stack of tiers wait for each other, they are a stage of their own: beside
    the time of attention, which is over when they begin, it would not count that they collide.
    """
    if config.tile.tiers == 1:
        return unit.key.layer
    return 2 * unit.key.layer + (unit.key.part in {"experts", "shared"})


def _weights(config: ChipConfig) -> Weights:
    given = config.mapping.weights
    return Weights(
        time=given.time,
        layers=given.layers,
        hop_bytes=given.hop_bytes,
        replicas=given.replicas,
        migration=given.migration,
    )


def _traffic(
    config: ChipConfig, units: tuple[Unit, ...], vectors: NDArray[np.int64]
) -> sparse.csr_array:
    """Bytes between every unit and its layer's attention block, symmetric [U, U]."""
    wide = config.tile.input.bits > 8
    width = BYTES_PER_WIDE_ACTIVATION if wide else BYTES_PER_ACTIVATION
    hub = {u.key.layer: i for i, u in enumerate(units) if u.key.part == "attention"}
    rows, cols, size = [], [], []
    for i, unit in enumerate(units):
        home = hub.get(unit.key.layer)
        if home is None or home == i or vectors[i] == 0:
            continue
        inputs = unit.tilings[0].matrix.n_in
        outputs = unit.tilings[-1].matrix.n_out
        moved = float(vectors[i]) * (inputs + outputs) * width
        rows += [i, home]
        cols += [home, i]
        size += [moved, moved]
    return sparse.csr_array(
        sparse.coo_array((size, (rows, cols)), shape=(len(units), len(units)), dtype=np.float64)
    )


def _refuse_switched_tiers(config: ChipConfig) -> None:
    if config.tile.tiers > 1:
        raise CimsimError(
            "experts that are programmed on demand are not modelled on tiles with several tiers",
            key="tile.tiers",
            value=config.tile.tiers,
            allowed="1 where not all experts fit",
            hint="give the chip more tiers or tiles, or chip.tiles: fit",
        )


def _number_crossbars(
    tile: Tile, mesh: ChipMesh, units: tuple[Unit, ...], assignment: Assignment, chip: int
) -> list[Seat]:
    """Give every part of every copy free crossbars of its tile, in unit order.

    They are the next ones of the first tier that has room for all, or else the next ones of
    several.
    """
    first = chip * mesh.chip_tiles * tile.tiers
    taken = np.zeros(mesh.chip_tiles * tile.tiers, dtype=np.int64)  # by tier of every tile
    seats: list[Seat] = []
    for unit, copies in zip(units, assignment.copies, strict=True):
        for replica, copy in enumerate(copies):
            crossbars: list[int] = []
            for number, count in copy:
                tiers = slice(number * tile.tiers, (number + 1) * tile.tiers)
                for at, part in _take(taken[tiers], count, tile.crossbars):
                    begin = (first + tiers.start + at) * tile.crossbars + int(taken[tiers][at])
                    crossbars += range(begin, begin + part)
                    taken[tiers.start + at] += part
            seats.append(Seat(unit.key, replica, tuple(crossbars)))
    return seats


def _take(taken: NDArray[np.int64], count: int, size: int) -> list[tuple[int, int]]:
    """Return (tier, crossbars) for so many crossbars, on one tier where one has room for all."""
    whole = np.flatnonzero(taken + count <= size)
    if whole.size:
        return [(int(whole[0]), count)]
    found = []
    for tier, left in enumerate((size - taken).tolist()):
        part = min(left, count)
        if part:
            found.append((tier, part))
        count -= part
    return found


def _place_nothing(mesh: ChipMesh) -> Placement:
    """Return the placement of a chip on which every matrix is digital."""
    return Placement(mesh.crossbars_per_tile, mesh.n_tiles, seats=(), units={})
