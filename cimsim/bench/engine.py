"""Speed of the event engines on full-size and small models, measured the same way always.

`olmoe_1b_7b`: 16 layers x 64 experts, top-8, on 98,304 crossbars of 256 x 256 (96 per expert,
one tile each), 4,096 tokens that travel alone: 524,288 expert visits. Expert matrices are
analog; the digital side costs no time, so that the engine and not a bottleneck is measured.
`olmoe_1b_7b_64_chips`: the same tiles on 64 chips of 16, a quarter of a layer each, joined as
an 8 x 8 mesh of chips, with contention on every link.
`olmoe_1b_7b_long`: the first case over many tokens on the compiled engine, with the time per token
over that of a quarter of the tokens, and the largest memory of the process; then decode of the same
tokens at batch 1, 8 and 32 with contention, and all phases together, plans included.
`small`: 4 layers, 8 experts, top-2, d_model 512, every matrix analog.

`compile_s`: CPU time of a process of its own that compiles every kernel of a system of one chip
into an empty cache and runs the small model once, less the time of the same run afterwards.

Process CPU time on one thread, after one run that compiles or loads the kernels; the
compiled engine's is the best of three, the SimPy engine's one run.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from time import process_time

from cimsim.chip import (
    ChipMesh,
    Placement,
    Unit,
    UnitKey,
    analog_units,
    build_system,
    seats_in_order,
)
from cimsim.config import ChipConfig
from cimsim.cost import ActionCounts, Density, Ledger, VisitTiming
from cimsim.engine.build import build_plan
from cimsim.engine.events.compiled import run_compiled
from cimsim.engine.events.simpy_loop import run_simpy
from cimsim.engine.noc.packet import FLITS
from cimsim.engine.plan import Plan
from cimsim.engine.raw import RawRun
from cimsim.engine.steps import CorrectionWork
from cimsim.workload.program import Program
from cimsim.workload.shapes import DecoderShape, build_shape, shape_program
from cimsim.workload.synthetic import Popularity, synthetic_trace

__all__ = ["run_engine_bench", "run_long_bench"]

SEQUENCES, LENGTH = 16, 256
SMALL = DecoderShape("small", "olmoe", 4, 512, 8, 8, 64, 1024, 8, 2, 512, source="bench")
SPREAD = 64
REPEATS = 3
DECODE_BATCHES = (1, 8, 32)
COLD = """
from time import process_time
from cimsim.bench.engine import _small, run_compiled
plan = _small()
start = process_time()
run_compiled(plan, record=False)
print(process_time() - start)
"""


# 8-bit weights in one cell each, as many crossbars per tile as each model asks for.
_TILE = {
    "pe": {"crossbars": 8},
    "crossbar": {"rows": 256, "cols": 256},
    "weight": {"encoding": "offset"},
    "device": {"kind": "ideal", "cell_bits": 8},
}


@dataclass(frozen=True)
class _Costs:
    """Round visit times (256 ns per vector, 1.1 us latency) and a free digital side."""

    def visit_timing(self, unit: Unit, in_pe: int | None = None) -> VisitTiming:
        del unit, in_pe
        return VisitTiming(fill_ps=844_000, interval_ps=256_000)

    def programming_ps(self, unit: Unit) -> int:
        return unit.cells

    def programming_bytes(self, unit: Unit) -> int:
        return sum(t.matrix.size for t in unit.tilings)

    def digital_ps(self, macs: int, elements: int) -> int:
        del macs
        return elements

    def charge(
        self, ledger: Ledger, counts: ActionCounts, density: Mapping[UnitKey, Density] | None
    ) -> None:
        """Charge nothing: the bench measures speed and sets no power limit."""


def run_engine_bench() -> dict[str, object]:
    """Return seconds of both engines with and without network contention."""
    free, loaded = (_olmoe(contention) for contention in ("none", "packet"))
    run_compiled(free, record=False)
    run_compiled(loaded, record=False)
    compiled_s, raw = _best(run_compiled, free)
    compiled_noc_s, raw_noc = _best(run_compiled, loaded)
    simpy_s, _ = _once(run_simpy, free)
    simpy_noc_s, _ = _once(run_simpy, loaded)
    spread = _olmoe("packet", chips=SPREAD)
    run_compiled(spread, record=False)
    compiled_chips_s, raw_chips = _best(run_compiled, spread)
    simpy_chips_s, _ = _once(run_simpy, spread)
    small = _small()
    run_compiled(small, record=False)
    small_s, small_raw = _best(run_compiled, small)
    tokens = SEQUENCES * LENGTH
    return {
        "olmoe_1b_7b": {
            "simpy_s": simpy_s,
            "compiled_s": compiled_s,
            "simpy_noc_s": simpy_noc_s,
            "compiled_noc_s": compiled_noc_s,
            "events": raw.events,
            "events_noc": raw_noc.events,
            "visits": int(raw.site_visits.sum()),
            "crossbars": sum(len(s.crossbars) for s in free.placement.seats),
            "tokens": tokens,
        },
        "olmoe_1b_7b_64_chips": {
            "simpy_noc_s": simpy_chips_s,
            "compiled_noc_s": compiled_chips_s,
            "events": raw_chips.events,
            "chips": spread.chips,
            "links_between_chips": len(spread.transport.between.pairs),
            "chip_link_bytes_per_token": _crossed_bytes(spread, raw_chips) / tokens,
        },
        "compile_s": _compile_s(),
        "small": {
            "s_per_token": small_s / tokens,
            "events": small_raw.events,
            "crossbar_mvms_per_token": _crossbars_a_token(small, small_raw) / tokens,
            "granularity": "expert visit; the peer schedules single crossbar products",
        },
    }


def run_long_bench(tokens: int) -> dict[str, object]:
    """Return seconds, linearity and memory of the compiled engine over many tokens.

    Args:
        tokens: how many, rounded up to whole sequences of `LENGTH`.
    """
    sequences = -(-tokens // LENGTH)
    run_compiled(_olmoe("none"), record=False)
    run_compiled(_olmoe("packet"), record=False)
    row: dict[str, object] = {"tokens": sequences * LENGTH}
    for name, contention in (("compiled", "none"), ("compiled_noc", "packet")):
        quarter = -(-sequences // 4)
        part_s, _ = _once(run_compiled, _olmoe(contention, sequences=quarter))
        start = process_time()
        plan = _olmoe(contention, sequences=sequences)
        plan_s = process_time() - start
        whole_s, raw = _once(run_compiled, plan)
        row |= {
            f"{name}_s": whole_s,
            f"{name}_plan_s": plan_s,
            f"{name}_visits": int(raw.site_visits.sum()),
            f"{name}_time_a_token_over_that_of_a_quarter": whole_s / sequences / part_s * quarter,
        }
        del plan, raw
    phases_s = sum(float(str(row[f"compiled_noc{part}_s"])) for part in ("", "_plan"))
    for batch in DECODE_BATCHES:
        start = process_time()
        raw = run_compiled(_olmoe("packet", sequences=sequences, batch=batch), record=False)
        row[f"decode_b{batch}_noc_s"] = process_time() - start
        phases_s += process_time() - start
        row[f"decode_b{batch}_visits"] = int(raw.site_visits.sum())
        del raw
    row["prefill_and_decode_noc_s"] = phases_s
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"olmoe_1b_7b_long": {**row, "peak_memory_gb": kib * 1024 / 1e9}}


def _compile_s() -> float:
    """Return the CPU time to compile the engine's kernels."""
    with TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        cold, warm = (
            float(
                subprocess.run(  # noqa: S603 - our own program
                    [sys.executable, "-c", COLD],
                    env=environment,
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
            )
            for _ in range(2)
        )
    return cold - warm


def _olmoe(contention: str, chips: int = 1, sequences: int = SEQUENCES, batch: int = 0) -> Plan:
    """Return prefill, or decode at a batch size."""
    config = ChipConfig.model_validate({
        "name": "bench-olmoe",
        "system": {"chips": chips},
        "chip": {"analog_parts": ["experts"], "spare_fraction": 0.0},
        "noc": {"contention": contention, "flit_bits": 256},
        "tile": {"pes": 12, **_TILE},
        "memory": {"kind": "none"},
        "digital": {"units": 64 // chips, "kv_sram_kb": 1e6, "weight_sram_kb": 1e6},
        "workload": {"tokens": sequences * LENGTH, "context": LENGTH, "in_flight": SEQUENCES},
        "run": {"flight_tokens": 1},
    })  # fmt: skip
    return _plan(config, shape_program("olmoe-1b-7b"), sequences, batch)


def _small() -> Plan:
    config = ChipConfig.model_validate({
        "name": "bench-small",
        "chip": {"analog_parts": ["attention", "router", "experts", "shared", "head"]},
        "tile": {"pes": 8, **_TILE},
        "memory": {"kind": "none"},
        "digital": {"units": 16, "kv_sram_kb": 1e6},
        "workload": {"tokens": SEQUENCES * LENGTH, "context": LENGTH, "in_flight": SEQUENCES},
        "run": {"flight_tokens": 1},
    })  # fmt: skip
    return _plan(config, build_shape(SMALL))


@dataclass(frozen=True)
class _Placed:
    """A chip with a program placed on it, with times of round numbers."""

    config: ChipConfig
    mesh: ChipMesh
    placement: Placement
    program: Program
    cost: _Costs


def _plan(config: ChipConfig, program: Program, sequences: int = SEQUENCES, batch: int = 0) -> Plan:
    units = analog_units(program, config)
    mesh = build_system(config, units)
    seats = seats_in_order(config, mesh, units)
    placement = Placement(mesh.crossbars_per_tile, mesh.n_tiles, seats, {u.key: u for u in units})
    trace = synthetic_trace(
        program, sequences=sequences, length=LENGTH, popularity=Popularity(skew=0.6), seed=0
    )
    return build_plan(
        _Placed(config, mesh, placement, program, _Costs()), trace,
        phase="decode" if batch else "prefill", batch=batch or 1, correction=CorrectionWork(),
    )  # fmt: skip


def _once(run: Callable[..., RawRun], plan: Plan) -> tuple[float, RawRun]:
    start = process_time()
    raw = run(plan, record=False)
    return process_time() - start, raw


def _best(run: Callable[..., RawRun], plan: Plan) -> tuple[float, RawRun]:
    runs = [_once(run, plan) for _ in range(REPEATS)]
    return min(runs, key=lambda item: item[0])


def _crossed_bytes(plan: Plan, raw: RawRun) -> float:
    """Return bytes over links between chips."""
    flits = int(raw.link_used[plan.transport.first_chip_link :, FLITS].sum())
    return flits * plan.transport.timing.flit_bytes


def _crossbars_a_token(plan: Plan, raw: RawRun) -> int:
    """Return crossbar products of a run: vectors times crossbars of their site."""
    crossbars = {s.unit: len(s.crossbars) for s in plan.placement.seats}
    vectors: dict[object, int] = {}
    for expert, key in enumerate(plan.copies.expert_units):
        vectors[key] = int(raw.expert_vectors[expert])
    tokens = int(plan.flights.size.sum())
    return sum(n * vectors.get(key, tokens) for key, n in crossbars.items())
