"""The tables of one chip and model, from what was measured."""

from __future__ import annotations

import numpy as np

from cimsim.results import (
    RUN_SLICES,
    Activity,
    ExpertLoad,
    LatencySamples,
    Row,
    energy_rows,
)
from cimsim.stages.columns.details import (
    PER_LAYER,
    PER_SEED,
    RESOURCES,
    LayerOf,
    ResourceOf,
    SeedOf,
)
from cimsim.stages.columns.registry import extended, results_table
from cimsim.stages.measured import ChipMeasurement
from cimsim.units import PS_PER_US
from cimsim.workload.program import Layer

__all__ = [
    "activity",
    "all_energy_rows",
    "expert_load",
    "latency_samples",
    "layer_rows",
    "resource_rows",
    "result_row",
    "seed_rows",
]


def result_row(measured: ChipMeasurement) -> Row:
    """Return the row of results.csv."""
    return results_table(measured.batches).measure(measured)


def seed_rows(measured: ChipMeasurement) -> tuple[Row, ...]:
    """Return per_seed.csv: the samples behind means and intervals."""
    table = extended(PER_SEED)
    return tuple(table.measure(SeedOf(measured, i)) for i in range(len(measured.accuracy.seeds)))


def expert_load(measured: ChipMeasurement) -> ExpertLoad:
    """Return visits of experts, summed over chip seeds."""
    clean = measured.accuracy.clean.trace.load() * len(measured.accuracy.seeds)
    noisy, calibrated = (
        np.sum(side.loads, axis=0) for side in (measured.noisy, measured.calibrated)
    )
    return ExpertLoad(measured.chip.program.moe_layers, clean, noisy, calibrated)


def all_energy_rows(measured: ChipMeasurement) -> tuple[Row, ...]:
    """Return energy.csv: every phase before and after calibration, and calibration itself."""
    charged = [
        (phase.ledger, phase.name, calibrated, phase.result.tokens)
        for timing, calibrated in ((measured.before, False), (measured.after, True))
        for phase in timing.phases
    ]
    charged.append((measured.calibration.ledger, "calibration", True, 0))
    return tuple(
        row
        for ledger, phase, calibrated, tokens in charged
        for row in energy_rows(
            ledger,
            config=measured.config.name,
            model=measured.chip.program.name,
            phase=phase,
            calibrated=calibrated,
            tokens=tokens,
        )
    )


def latency_samples(measured: ChipMeasurement) -> tuple[LatencySamples, ...]:
    """Return latencies of every phase, prefill (windows) first."""
    found: list[LatencySamples] = []
    for timing, stage in ((measured.before, "noisy"), (measured.after, "calibrated")):
        for phase in timing.phases:
            result = phase.result
            samples = result.ttft_ps if phase.name == "prefill" else result.tpot_ps
            found.append(LatencySamples(phase.name, stage, samples / PS_PER_US))  # type: ignore[arg-type]
    return tuple(found)


def resource_rows(measured: ChipMeasurement) -> tuple[Row, ...]:
    """Return resources.csv: how busy everything is in the main decode phase."""
    table = extended(RESOURCES)
    return tuple(table.measure(ResourceOf(measured, r)) for r in measured.main.result.resources)


def activity(measured: ChipMeasurement) -> Activity:
    """Return what every resource did in the main decode phase, as far as a trace shows it."""
    return measured.main.result.activity(measured.main.name, RUN_SLICES)


def layer_rows(measured: ChipMeasurement) -> tuple[Row, ...]:
    """Return per_layer.csv: decoder layers, then the head."""
    program = measured.chip.program
    parts = [LayerOf(measured, x, "moe" if x.is_moe else "dense") for x in program.layers]
    head = Layer(len(program.layers), program.operations[-1:])
    table = extended(PER_LAYER)
    return tuple(table.measure(part) for part in (*parts, LayerOf(measured, head, "head")))
