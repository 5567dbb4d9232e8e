"""Stored engine plans on today's engines: the other module of the net that knows the product."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from cimsim.chip import ChipMesh, Placement, Seat, Unit, UnitKey, analog_units, build_mesh
from cimsim.config import ChipConfig
from cimsim.config.migration import migrate_text
from cimsim.cost import ActionCounts, Ledger
from cimsim.engine import EngineResult, simulate
from cimsim.engine.steps import CorrectionWork
from cimsim.workload.program import Program
from cimsim.workload.shapes import DecoderShape, build_shape
from cimsim.workload.trace import RoutingTrace
from tests.golden.rows import Row

__all__ = ["replay"]


@dataclass(frozen=True)
class CaseTiming:
    """Closed form of a visit in a stored plan."""

    fill_ps: int
    interval_ps: int
    adc_fill_ps: int
    adc_interval_ps: int


@dataclass(frozen=True)
class CaseCost:
    """The closed-form times of a stored plan."""

    fill_ps: int
    interval_ps: int
    write_ps: int
    element_ps: int

    def visit_timing(self, unit: Unit, in_pe: int | None = None) -> CaseTiming:
        interval = self.interval_ps + unit.crossbars
        return CaseTiming(self.fill_ps, interval, self.fill_ps // 5, interval // 3)

    def programming_ps(self, unit: Unit) -> int:
        return self.write_ps + unit.crossbars

    def programming_bytes(self, unit: Unit) -> int:
        return sum(t.matrix.size for t in unit.tilings)

    def digital_ps(self, macs: int, elements: int) -> int:
        return elements * self.element_ps

    def charge(self, ledger: Ledger, counts: ActionCounts, density: object) -> None:
        """Energy is the same for a vector of every unit: it decides what a power limit does."""
        for n in counts.unit_vectors.values():
            ledger.add("crossbar", counts.phase, n, 1000.0, kind="dynamic", source="test")


@dataclass(frozen=True)
class Case:
    """A program placed on a chip, with the times of a stored plan."""

    config: ChipConfig
    program: Program
    mesh: ChipMesh
    cost: CaseCost
    placement: Placement


def _placement(case: dict[str, Any], mesh: ChipMesh, units: tuple[Unit, ...]) -> Placement:
    def key(name: list[Any]) -> UnitKey:
        return UnitKey(*name)

    return Placement(
        mesh.crossbars_per_tile,
        mesh.n_tiles,
        tuple(Seat(key(u), copy, tuple(at)) for u, copy, at in case["seats"]),
        {u.key: u for u in units},
        tuple(map(tuple, case["slots"])),
        tuple(key(u) for u in case["absent"]),
        tuple(case["slot_chips"]),
        {key(u): chip for u, chip in case["homes"]},
    )


def replay(case: dict[str, Any], engine: str) -> tuple[Row, dict[str, Any]]:
    """Run a stored plan.

    Args:
        case: a chip, shape, placement, routing and closed-form times, as plain values.
        engine: simpy or compiled.

    Returns:
        Totals that a reader compares, and integer arrays whose digests are compared: `flights`
        [flights, enter, done and the parts of the latency in ps], `visits` [visits, flight,
        layer, expert, vectors, arrive, start, end and taken in ps, then tiles], `writes`.
    """
    text, _ = migrate_text(json.dumps(case["config"]), "case")  # the cases are of format 1
    config = ChipConfig.model_validate_json(json.dumps({"name": "case", **json.loads(text)}))
    program = build_shape(DecoderShape(**case["shape"]))
    units = analog_units(program, config)
    mesh = build_mesh(config, case["crossbars_needed"])
    trace = RoutingTrace(
        np.array(case["experts"], dtype=np.int16),
        np.array(case["sequence"], dtype=np.int64),
        np.array(case["position"], dtype=np.int64),
        program.n_experts,
    )
    arrivals = case["arrival_ps"]
    placed = Case(config, program, mesh, CaseCost(**case["cost"]), _placement(case, mesh, units))
    result = simulate(
        placed, trace,
        phase=case["phase"], batch=case["batch"],
        engine=engine,
        correction=CorrectionWork(*case["correction"]),
        arrival_ps=None if arrivals is None else np.array(arrivals, dtype=np.int64),
    )  # fmt: skip
    return _totals(result), _arrays(result)


def _totals(result: EngineResult) -> Row:
    raw, counts = result.raw, result.counts
    return {
        "flights": len(raw.done_ps),
        "visits": len(raw.visits),
        "makespan_ps": result.makespan_ps,
        "completion_sum_ps": int(raw.done_ps.sum()),
        "latency_sum_ps": int((raw.done_ps - raw.enter_ps).sum()),
        "tile_busy_sum_ps": int(result.tile_busy_ps.sum()),
        "loads": int(raw.loads.sum()),
        "hits": int(raw.hits),
        "stall_ps": int(raw.stall_ps),
        "power_stall_ps": int(raw.power_stall_ps),
        "link_bits": int(counts.link_bits),
        "router_bits": int(counts.router_bits),
        "chip_link_bits": int(counts.chip_link_bits),
        "psum_bits": int(counts.psum_bits),
        "dram_bytes": int(
            sum(counts.dram_read_bytes.values()) + sum(counts.dram_write_bytes.values())
        ),
        "peak_buffer_bytes": int(raw.peak_buffer_bytes.max(initial=0)),
        "events": int(raw.events),
    }


def _arrays(result: EngineResult) -> dict[str, Any]:
    raw, plan = result.raw, result.plan
    rows = []
    for flight, step, site, expert, vectors, *times in raw.visits.tolist():
        tiles = plan.sites.tiles[plan.sites.tile_ptr[site] : plan.sites.tile_ptr[site + 1]]
        layer = plan.steps[step].layer
        rows.append([flight, layer, expert, vectors, *times, *tiles.tolist()])
    return {
        "flights": np.column_stack([raw.enter_ps, raw.done_ps, raw.parts_ps]).tolist(),
        "visits": sorted(rows),
        "writes": sorted(raw.writes.tolist()),
    }
