"""Small chips, programs, traces and costs for tests of the engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cimsim.chip import ChipMesh, Placement, Seat, Unit, UnitKey, analog_units, build_mesh
from cimsim.config import ChipConfig
from cimsim.cost import ActionCounts, Ledger
from cimsim.workload.program import Program
from cimsim.workload.shapes import DecoderShape, build_shape
from cimsim.workload.trace import RoutingTrace


@dataclass(frozen=True)
class FakeTiming:
    fill_ps: int
    interval_ps: int
    adc_fill_ps: int = 0
    adc_interval_ps: int = 0


@dataclass(frozen=True)
class FakeCost:
    """Closed-form times in round numbers, so that results can be computed by hand."""

    fill_ps: int = 5_000
    interval_ps: int = 100_000
    write_ps: int = 2_000_000
    mac_ps: int = 0
    element_ps: int = 10
    vector_fj: float = 1000.0

    def visit_timing(self, unit: Unit, in_pe: int | None = None) -> FakeTiming:
        interval = self.interval_ps + unit.crossbars
        return FakeTiming(self.fill_ps, interval, self.fill_ps // 5, interval // 3)

    def programming_ps(self, unit: Unit) -> int:
        return self.write_ps + unit.crossbars

    def programming_bytes(self, unit: Unit) -> int:
        return sum(t.matrix.size for t in unit.tilings)

    def charge(self, ledger: Ledger, counts: ActionCounts, density: object) -> None:
        """The same energy for a vector of every unit."""
        for n in counts.unit_vectors.values():
            ledger.add("crossbar", counts.phase, n, self.vector_fj, kind="dynamic", source="test")

    def digital_ps(self, macs: int, elements: int) -> int:
        return macs * self.mac_ps + elements * self.element_ps


@dataclass(frozen=True)
class System:
    """Everything that `simulate` takes."""

    config: ChipConfig
    mesh: ChipMesh
    placement: Placement
    program: Program
    cost: FakeCost
    trace: RoutingTrace


def make_shape(**changes: object) -> DecoderShape:
    values: dict[str, object] = {
        "name": "tiny", "family": "olmoe", "layers": 2, "d_model": 64, "heads": 2, "kv_heads": 2,
        "head_dim": 32, "vocabulary": 128, "experts": 8, "top_k": 2, "expert_width": 64,
    }  # fmt: skip
    return DecoderShape(**(values | changes))  # type: ignore[arg-type]


def make_config(**sections: dict[str, object]) -> ChipConfig:
    base: dict[str, dict[str, object]] = {
        "tile": {"pes": 2, "pe": {"crossbars": 4}, "crossbar": {"rows": 64, "cols": 256}},
        "workload": {"tokens": 64, "context": 16},
        "run": {"flight_tokens": 4},
    }
    merged = {k: {**base.get(k, {}), **sections.get(k, {})} for k in {*base, *sections}}
    return ChipConfig.model_validate({"name": "test", **merged})


def make_trace(program: Program, sequences: int, length: int, seed: int = 0) -> RoutingTrace:
    rng = np.random.default_rng(seed)
    shape = (sequences * length, len(program.moe_layers))
    scores = rng.random((*shape, program.n_experts))
    experts = np.argsort(scores, axis=2)[:, :, : program.top_k].astype(np.int16)
    return RoutingTrace(
        experts=experts,
        sequence=np.repeat(np.arange(sequences, dtype=np.int64), length),
        position=np.tile(np.arange(length, dtype=np.int64), sequences),
        n_experts=program.n_experts,
    )


def place_in_order(
    units: tuple[Unit, ...], mesh: ChipMesh, copies: dict[UnitKey, int]
) -> Placement:
    """Put units (and copies) on consecutive crossbars."""
    seats, at = [], 0
    for unit in units:
        for replica in range(copies.get(unit.key, 1)):
            seats.append(Seat(unit.key, replica, tuple(range(at, at + unit.crossbars))))
            at += unit.crossbars
    return Placement(mesh.crossbars_per_tile, mesh.n_tiles, tuple(seats), {u.key: u for u in units})


def place_with_slots(
    units: tuple[Unit, ...], mesh: ChipMesh, n_slots: int, resident: int
) -> Placement:
    """Put everything but experts on consecutive crossbars, then slots; some start filled.

    A slot lies on one chip; experts live on the chips that have slots by turns.
    """
    seats, at = [], 0
    for unit in units:
        if unit.key.part != "experts":
            seats.append(Seat(unit.key, 0, tuple(range(at, at + unit.crossbars))))
            at += unit.crossbars
    experts = [u for u in units if u.key.part == "experts"]
    size = experts[0].crossbars
    room = mesh.chip_tiles * mesh.crossbars_per_tile
    slots: list[tuple[int, ...]] = []
    while len(slots) < n_slots:
        if at // room != (at + size - 1) // room:
            at = (at // room + 1) * room
        slots.append(tuple(range(at, at + size)))
        at += size
    chips = tuple(slot[0] // room for slot in slots)
    in_turn = sorted(set(chips))
    homes = {u.key: in_turn[i % len(in_turn)] for i, u in enumerate(experts)}
    absent = [u.key for u in experts]
    for chip, slot in list(zip(chips, slots, strict=True))[:resident]:
        held = next((key for key in absent if homes[key] == chip), None)
        if held is not None:
            seats.append(Seat(held, 0, slot))
            absent.remove(held)
    keys = {u.key: u for u in units}
    return Placement(
        mesh.crossbars_per_tile, mesh.n_tiles, tuple(seats), keys, tuple(slots), tuple(absent),
        chips, homes,
    )  # fmt: skip


def make_system(
    *,
    shape: DecoderShape | None = None,
    program: Program | None = None,
    config: ChipConfig | None = None,
    cost: FakeCost | None = None,
    sequences: int = 4,
    length: int = 16,
    slots: int = 0,
    resident: int = 0,
    copies: int = 1,
    seed: int = 0,
) -> System:
    """Return a small system; with `slots`, experts live in slots."""
    program = program or build_shape(shape or make_shape())
    config = config or make_config()
    units = analog_units(program, config)
    experts = [u for u in units if u.key.part == "experts"]
    extra = {u.key: copies for i, u in enumerate(experts) if i % 2 == 0} if copies > 1 else {}
    if slots:
        rest = sum(u.crossbars for u in units if u.key.part != "experts")
        # A slot that a chip's end would cut moves to the next chip.
        needed = rest + (slots + config.system.chips - 1) * experts[0].crossbars
    else:
        needed = sum(u.crossbars * extra.get(u.key, 1) for u in units)
    mesh = build_mesh(config, -(-needed // config.system.chips))
    placement = (
        place_with_slots(units, mesh, slots, resident)
        if slots
        else place_in_order(units, mesh, extra)
    )
    placement.check()
    trace = make_trace(program, sequences, length, seed)
    return System(config, mesh, placement, program, cost or FakeCost(), trace)
