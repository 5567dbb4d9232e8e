"""No phase beats the peak, and no ADC its rate: what visits of one PE share, they wait for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cimsim.chip import ChipMesh, Placement, Seat, Unit, analog_units, build_mesh
from cimsim.config import ChipConfig
from cimsim.config.load import bundled_folder, load_chip
from cimsim.cost import CostModel
from cimsim.cost.peak import peak
from cimsim.engine.build import build_plan
from cimsim.engine.counts import count_run
from cimsim.engine.events.compiled import run_compiled
from cimsim.engine.events.flit_loop import run_flit
from cimsim.engine.events.simpy_loop import run_simpy
from cimsim.engine.placed import place_units
from cimsim.engine.plan import Plan
from cimsim.engine.raw import RawRun
from cimsim.engine.sites import SiteSpec
from cimsim.engine.steps import CorrectionWork
from cimsim.units import period_ps
from cimsim.workload.program import Program
from cimsim.workload.shapes import build_shape
from tests.cost.test_random_chips import draw_chip
from tests.engine.chips import make_shape, make_trace, place_in_order
from tests.engine.test_compiled import differences
from tests.twins.events.reference import run_reference

BUNDLED = sorted([*bundled_folder().glob("*.yaml"), *bundled_folder().glob("published/*.yaml")])


def draw_program(seed: int) -> Program:
    rng = np.random.default_rng(seed)
    shape = make_shape(
        d_model=int(rng.choice([64, 192])), expert_width=int(rng.choice([32, 160])),
        layers=int(rng.integers(1, 3)), experts=int(rng.integers(2, 7)),
    )  # fmt: skip
    return build_shape(shape)


class Case:
    """A chip whose crossbars hold a small model, side by side.

    Args:
        config: the chip; its size is made to fit.
        program: the model.
        seed: of the routing.
        spread: crossbars between two of one unit.
    """

    def __init__(
        self, config: ChipConfig, program: Program, seed: int = 0, spread: int = 1
    ) -> None:
        self.program = program
        units = analog_units(self.program, config)
        need = max(1, sum(u.crossbars for u in units)) * spread
        chips = config.system.chips
        tiles = -(-need // (config.tile.crossbars * chips))
        chip = config.chip.model_copy(update={"tiles": tiles, "switching": "refuse"})
        memory = config.memory
        if memory.kind == "none":
            memory = memory.model_copy(update={"kind": "lpddr4"})
        self.config = config.model_copy(update={"chip": chip, "memory": memory})
        self.mesh: ChipMesh = build_mesh(self.config, -(-need // chips))
        self.placement: Placement = spread_out(place_in_order(units, self.mesh, {}), spread)
        self.cost = CostModel(self.config, self.mesh, self.program)
        self.seed = seed

    def plan(self, phase: str, length: int = 6) -> Plan:
        trace = make_trace(self.program, 3, length, self.seed)
        return build_plan(
            self, trace,
            phase=phase, batch=3, correction=CorrectionWork(),
        )  # fmt: skip

    def specs(self) -> list[SiteSpec]:
        return place_units(self.config, self.placement, self.program, self.cost).specs


def spread_out(placement: Placement, step: int) -> Placement:
    """Leave crossbars empty between those that are used."""
    seats = tuple(
        Seat(s.unit, s.replica, tuple(c * step for c in s.crossbars)) for s in placement.seats
    )
    return Placement(placement.crossbars_per_tile, placement.n_tiles, seats, placement.units)


def reads_of(unit: Unit) -> int:
    """Reads of one vector on the slowest crossbar."""
    return max(t.reads_per_vector(r) for t in unit.tilings for r in range(len(t.row_blocks)))


def check_adcs(case: Case, plan: Plan, raw: RawRun) -> None:
    """Check every ADC in every visit, and that visits of one PE follow each other."""
    tile = case.config.tile
    in_pe, per_pe = tile.pe.crossbars, tile.adc.per_pe
    specs = case.specs()
    for site, spec in enumerate(specs) if tile.crossbar.kind == "analog" else ():
        samples: dict[tuple[int, int], int] = {}
        crossbars = iter(spec.crossbars)
        for tiling in spec.unit.tilings:
            for row in range(len(tiling.row_blocks)):
                for column in range(len(tiling.column_blocks)):
                    pe, place = divmod(next(crossbars), in_pe)
                    reads = tiling.reads_per_vector(row)
                    count = reads * tiling.conversions_per_read(column)
                    if per_pe >= in_pe:  # its own ADCs, busy in turns
                        count = -(-count // (per_pe // in_pe))
                        adc = place
                    else:
                        adc = place * per_pe // in_pe
                    samples[pe, adc] = samples.get((pe, adc), 0) + count
        # Every read is rounded to whole picoseconds.
        slack = reads_of(spec.unit) * len(spec.unit.tilings)
        busy_ps = max(samples.values()) / tile.adc.rate_gsps * 1e3
        assert busy_ps <= plan.sites.interval_ps[site] + slack, spec.name
    visits_of: dict[int, list[tuple[int, int]]] = {}
    for row in raw.visits:
        site, vectors, start, taken = (int(row[k]) for k in (2, 4, 6, 8))
        assert taken - start >= plan.sites.interval_ps[site] * vectors
        for pe in {c // in_pe for c in specs[site].crossbars}:
            visits_of.setdefault(pe, []).append((start, taken))
    for visits in visits_of.values():
        assert all(a[1] <= b[0] for a, b in pairwise(sorted(visits)))


def check_phase(case: Case, plan: Plan, raw: RawRun) -> None:
    """Check a phase against the peak of its chip, and its ADCs and digital units."""
    config, span = case.config, int(raw.end_ps)
    counts = count_run(config, case.program, plan, raw, span)
    macs = samples = 0
    for key, vectors in counts.unit_vectors.items():
        macs += vectors * sum(t.matrix.size for t in case.placement.units[key].tilings)
        samples += vectors * case.cost.conversions(key)
    top = peak(config)
    slack = 1 + 1e-3  # rounding to picoseconds
    if config.chip.analog_parts:
        assert 2 * macs / span <= top.tops * slack
    adcs = case.mesh.n_tiles * config.tile.pes * config.tile.adc.per_pe
    assert samples / span * 1e3 / adcs <= config.tile.adc.rate_gsps * slack
    digital = config.digital
    most = case.mesh.n_digital * digital.macs_per_cycle / period_ps(digital.clock_ghz)
    assert sum(counts.digital_macs.values()) / span <= most


@pytest.mark.parametrize("path", BUNDLED, ids=lambda p: p.stem)
def test_no_phase_of_a_bundled_chip_beats_its_peak(path: Path) -> None:
    for settings in ((), ("tile.adc.per_pe=1",)):
        case = Case(load_chip(path, settings), draw_program(1))
        for phase in ("prefill", "decode"):
            plan = case.plan(phase)
            raw = run_reference(plan)
            assert differences(raw, run_compiled(plan)) == []
            check_phase(case, plan, raw)
            check_adcs(case, plan, raw)


def test_no_phase_of_a_random_chip_beats_its_peak(scaled: Callable[[int], int]) -> None:
    shared = 0
    for seed in range(scaled(1000)):
        config = draw_chip(seed)
        case = Case(config, draw_program(seed), seed, spread=1 + seed % 3)
        plan = case.plan(("prefill", "decode")[seed % 2])
        raw = run_compiled(plan)
        if seed % 3 == 0:
            assert differences(raw, run_reference(plan)) == [], f"seed {seed}"
        check_phase(case, plan, raw)
        check_adcs(case, plan, raw)
        tile = config.tile
        shared += tile.crossbar.kind == "analog" and tile.adc.per_pe < tile.pe.crossbars
    assert shared > scaled(1000) // 20


def one_adc(crossbars: int) -> Case:
    """Experts of three full crossbars in PEs that have one ADC; nothing else takes long."""
    config = ChipConfig.model_validate(
        {
            "name": "test",
            "chip": {"analog_parts": ["experts"]},
            "tile": {
                "pes": 1,
                "pe": {"crossbars": crossbars},
                "crossbar": {"rows": 64, "cols": 256, "read_ns": 10},
                "weight": {"bits": 8, "encoding": "offset"},
                "adc": {"kind": "isaac", "rate_gsps": 1.28, "per_pe": 1},
                "device": {"kind": "ideal", "cell_bits": 2},
            },
            "digital": {"units": 8, "lanes": 1 << 20, "macs_per_cycle": 1 << 20},
            "run": {"flight_tokens": 16},
        }
    )
    return Case(config, build_shape(make_shape(layers=1, experts=4, top_k=4)))


@pytest.mark.parametrize("run", [run_simpy, run_compiled, run_flit])
def test_visits_of_one_pe_wait_for_its_adcs(run: Callable[[Plan], RawRun]) -> None:
    case = one_adc(crossbars=6)
    assert case.mesh.n_tiles == 2
    plan = case.plan("prefill")
    # 256 samples at 1.28 GS/s, of three crossbars, in each of 8 cycles.
    assert set(plan.sites.interval_ps.tolist()) == {8 * 3 * 200_000}
    raw = run(plan)
    check_adcs(case, plan, raw)
    # Two experts lie in each of the two PEs: one of them waits until all vectors of the other
    # are in.
    vectors, arrived, start, taken = (raw.visits[:, k] for k in (4, 5, 6, 8))
    first = raw.visits[:, 0] == raw.visits[0, 0]
    assert len(raw.visits[first]) == 4
    assert (start[first] - arrived[first] >= vectors[first] * 8 * 3 * 200_000 // 2).sum() == 2
    assert len({*zip(start[first].tolist(), taken[first].tolist(), strict=True)}) == 4


def test_adcs_that_always_work_make_a_phase_as_fast_as_the_peak() -> None:
    case = one_adc(crossbars=3)
    plan = case.plan("prefill", length=256)
    raw = run_compiled(plan)
    macs = int(raw.expert_vectors.sum()) * 3 * 64 * 64
    top = peak(case.config)
    assert top.tops == pytest.approx(4 * 3 * 2 * 64 * 64 / (8 * 3 * 200_000))
    assert 0.9 * top.tops < 2 * macs / raw.end_ps <= top.tops
