"""A chip on which a tile is the critical resource, and what is measured on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import ChipMesh, Unit, analog_units, build_system
from cimsim.config import ChipConfig
from cimsim.cost import CostModel
from cimsim.engine import EngineResult, simulate
from cimsim.stages.placed_chip import PlacedChip
from cimsim.stages.placing import SolvedPlacement, place
from cimsim.units import PS_PER_S, PS_PER_US
from cimsim.workload.program import Program
from cimsim.workload.trace import RoutingTrace
from moe_mapping import MappingProblem
from moe_mapping.objective import lower_bound_ps, tile_times_ps

__all__ = [
    "POLICIES",
    "SLOTS_PER_TILE",
    "BenchChip",
    "chip_of",
    "p99_us",
    "place_on",
    "problem_of",
    "run_on",
    "saturate",
    "slot_chip",
]

SLOTS_PER_TILE = 4
SPARE = 0.25
STREAMS = 512  # at once: all sequences of a Zipf trace; a token each in decode saturates
POLICIES = ("round_robin", "auto")


@dataclass(frozen=True)
class BenchChip:
    """A chip, the model on it and what is analog."""

    config: ChipConfig
    mesh: ChipMesh
    program: Program
    units: tuple[Unit, ...]
    cost: CostModel


def slot_chip(program: Program, contention: str, choice: str = "static") -> BenchChip:
    """Return a chip of one-PE tiles with four expert slots each and a quarter to spare."""
    config = _config(program, crossbars=1, tiles=1, contention=contention)
    crossbars = max(u.crossbars for u in analog_units(program, config))
    experts = len(program.moe_layers) * program.n_experts
    tiles = -(-int(experts * (1.0 + SPARE)) // SLOTS_PER_TILE)
    config = _config(program, SLOTS_PER_TILE * crossbars, tiles, contention)
    mapping = config.mapping.model_copy(update={"replica_choice": choice})
    return chip_of(config.model_copy(update={"mapping": mapping}), program)


def chip_of(config: ChipConfig, program: Program) -> BenchChip:
    """Return a chip with a model on it."""
    units = analog_units(program, config)
    mesh = build_system(config, units)
    return BenchChip(config, mesh, program, units, CostModel(config, mesh, program))


def _config(program: Program, crossbars: int, tiles: int, contention: str) -> ChipConfig:
    return ChipConfig.model_validate({
        "name": f"bench-{program.name}",
        "chip": {"analog_parts": ["experts"], "tiles": tiles},
        "noc": {"flit_bits": 1024, "contention": contention},
        "tile": {
            "pes": 1,
            "pe": {"crossbars": crossbars},
            "crossbar": {"rows": 256, "cols": 256, "read_ns": 100},
            "weight": {"encoding": "offset"},
            "device": {"kind": "ideal", "cell_bits": 8},
            "adc": {"kind": "isaac", "per_pe": crossbars, "rate_gsps": 10.0},
            "buffers": {"size_kb": 1 << 20},
        },
        "memory": {"kind": "none"},
        "digital": {
            "units": 64, "macs_per_cycle": 1 << 20, "lanes": 1 << 16,
            "kv_sram_kb": 1e6, "weight_sram_kb": 1e6,
        },
        "workload": {"in_flight": STREAMS},
        "run": {"engine": "compiled", "flight_tokens": 1},
    })  # fmt: skip


def saturate(
    chip: BenchChip, placed: dict[str, SolvedPlacement], timed: RoutingTrace, *, stationary: bool
) -> dict[str, float]:
    """Return closed-loop throughput of both placements, and what the objective says of it.

    Args:
        chip: on which.
        placed: a placement by policy.
        timed: routing of the tokens.
        stationary: whether loads are the same all along: rates then leave out filling and
            draining, else they are over the whole trace, as the objective is.
    """
    expected = {p: _slowest_ps(problem_of(placed[p]), placed[p]) for p in POLICIES}
    problem = problem_of(place_on(chip, timed, "round_robin"))
    actual = {policy: _slowest_ps(problem, placed[policy]) for policy in POLICIES}
    runs = {policy: run_on(chip, placed[policy], timed, "decode") for policy in POLICIES}
    waves = {policy: run_on(chip, placed[policy], timed, "prefill") for policy in POLICIES}
    of_run = _steady_per_s if stationary else _tokens_per_s
    rate = {policy: of_run(runs[policy]) for policy in POLICIES}
    bound_ps = lower_bound_ps(problem)
    gain = rate["auto"] / rate["round_robin"]
    predicted = actual["round_robin"] / actual["auto"]
    tile = {policy: float(runs[policy].utilisation.tile.max()) for policy in POLICIES}
    return {
        "round_robin_tokens_per_s": rate["round_robin"],
        "auto_tokens_per_s": rate["auto"],
        "throughput_gain": gain,
        "predicted_gain": predicted,
        "predicted_gain_before": expected["round_robin"] / expected["auto"],
        "prediction_error": predicted / gain - 1.0,
        "share_of_bound": bound_ps / runs["auto"].makespan_ps,
        "prefill_gain": waves["round_robin"].makespan_ps / waves["auto"].makespan_ps,
        "prefill_share_of_bound": bound_ps / waves["auto"].makespan_ps,
        "round_robin_busiest_tile": tile["round_robin"],
        "auto_busiest_tile": tile["auto"],
        "tile_is_critical": all(_is_tile(runs[p].critical_resource) for p in POLICIES),
    }


def place_on(chip: BenchChip, trace: RoutingTrace, policy: str) -> SolvedPlacement:
    """Place the model for the loads of a trace."""
    mapping = chip.config.mapping.model_copy(update={"policy": policy})
    config = chip.config.model_copy(update={"mapping": mapping})
    return place(config, chip.mesh, chip.program, chip.units, chip.cost, trace)


def run_on(
    chip: BenchChip,
    placed: SolvedPlacement,
    trace: RoutingTrace,
    phase: str,
    arrival_ps: NDArray[np.int64] | None = None,
    batch: int = STREAMS,
) -> EngineResult:
    """Time a trace: closed loop, or at given arrivals of its sequences."""
    return simulate(
        PlacedChip(chip.config, chip.program, chip.mesh, chip.cost, placed.placement),
        trace,
        phase=phase,
        batch=batch,
        arrival_ps=arrival_ps,
    )


def _slowest_ps(problem: MappingProblem, placed: SolvedPlacement) -> float:
    """Return the slowest tile's time under a problem's loads."""
    assert placed.assignment is not None  # noqa: S101 - every expert is resident
    return float(tile_times_ps(problem, placed.assignment).max())


def problem_of(placed: SolvedPlacement) -> MappingProblem:
    """Return the problem that a placement answers."""
    assert placed.problem is not None  # noqa: S101 - every expert is resident
    return placed.problem


def _tokens_per_s(result: EngineResult) -> float:
    """Return all tokens over the makespan."""
    return result.tokens / result.makespan_ps * PS_PER_S


def _steady_per_s(result: EngineResult) -> float:
    """Return the rate between a quarter and three quarters of the completions."""
    done = np.sort(result.complete_ps)
    first, last = done.size // 4, 3 * done.size // 4
    return (last - first) / float(done[last] - done[first]) * PS_PER_S


def p99_us(latency_ps: NDArray[np.integer | np.floating]) -> float:
    """Return the 99th percentile in us."""
    return float(np.percentile(latency_ps, 99)) / PS_PER_US


def _is_tile(resource: str) -> bool:
    return resource.startswith("tile ")
