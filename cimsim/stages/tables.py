"""The detailed tables of one chip and model: layers, seeds, energy, loads, samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import Unit, UnitKey
from cimsim.mac import MacStatistics
from cimsim.model.text import perplexity
from cimsim.results import (
    PER_LAYER,
    PER_SEED,
    RESOURCES,
    RUN_SLICES,
    Activity,
    ExpertLoad,
    LatencySamples,
    Row,
    energy_rows,
)
from cimsim.results.statistics import gini, load_cv, topk_agreement, total_variation
from cimsim.stages.rows import Measured, main_decode
from cimsim.stages.timing import Phase
from cimsim.units import PS_PER_US
from cimsim.workload.program import Layer

__all__ = [
    "activity",
    "all_energy_rows",
    "expert_load",
    "latency_samples",
    "layer_rows",
    "resource_rows",
    "seed_rows",
]

Floats = NDArray[np.float64]


def seed_rows(measured: Measured) -> tuple[Row, ...]:
    """Return per_seed.csv: the samples behind means and intervals."""
    clean = measured.accuracy.clean.experts
    return tuple(
        PER_SEED.row(
            {
                "config": measured.chip.config.name,
                "model": measured.chip.program.name,
                "chip_seed": index,
                "ppl_noisy": perplexity(seed.noisy.nll),
                "ppl_calibrated": perplexity(seed.calibrated.nll),
                "topk_agreement": float(topk_agreement(clean, seed.noisy.experts).mean()),
                "topk_agreement_calibrated": float(
                    topk_agreement(clean, seed.calibrated.experts).mean()
                ),
                "expert_load_cv": float(load_cv(seed.noisy.trace.load()).mean()),
                "expert_load_cv_calibrated": float(load_cv(seed.calibrated.trace.load()).mean()),
            }
        )
        for index, seed in enumerate(measured.accuracy.seeds)
    )


def expert_load(measured: Measured) -> ExpertLoad:
    """Return visits of experts, summed over chip seeds."""
    seeds = measured.accuracy.seeds
    clean = measured.accuracy.clean.trace.load() * len(seeds)
    noisy = np.sum([s.noisy.trace.load() for s in seeds], axis=0)
    calibrated = np.sum([s.calibrated.trace.load() for s in seeds], axis=0)
    return ExpertLoad(measured.chip.program.moe_layers, clean, noisy, calibrated)


def all_energy_rows(measured: Measured) -> tuple[Row, ...]:
    """Return energy.csv: every phase before and after calibration, and calibration itself."""
    rows: list[Row] = []
    names = (measured.chip.config.name, measured.chip.program.name)
    for timing, calibrated in ((measured.before, False), (measured.after, True)):
        for phase in timing.phases:
            rows += energy_rows(
                phase.ledger,
                config=names[0],
                model=names[1],
                phase=phase.name,
                calibrated=calibrated,
                tokens=phase.result.tokens,
            )
    rows += energy_rows(
        measured.calibration.ledger,
        config=names[0],
        model=names[1],
        phase="calibration",
        calibrated=True,
        tokens=0,
    )
    return tuple(rows)


def latency_samples(measured: Measured) -> tuple[LatencySamples, ...]:
    """Return latencies of every phase, prefill (windows) first."""
    found: list[LatencySamples] = []
    for timing, stage in ((measured.before, "noisy"), (measured.after, "calibrated")):
        for phase in timing.phases:
            result = phase.result
            samples = result.ttft_ps if phase.name == "prefill" else result.tpot_ps
            found.append(LatencySamples(phase.name, stage, samples / PS_PER_US))  # type: ignore[arg-type]
    return tuple(found)


def resource_rows(measured: Measured) -> tuple[Row, ...]:
    """Return resources.csv: how busy everything is in the main decode phase."""
    names = {"config": measured.chip.config.name, "model": measured.chip.program.name}
    phase = main_decode(measured, measured.before)
    return tuple(
        RESOURCES.row(
            {
                **names,
                "kind": r.kind,
                "resource": r.name,
                "chip": r.chip,
                "x": r.x,
                "y": r.y,
                "direction": r.direction or None,
                "utilisation": r.utilisation,
            }
        )
        for r in phase.result.resources
    )


def activity(measured: Measured) -> Activity:
    """Return what every resource did in the main decode phase, as far as a trace shows it."""
    phase: Phase = main_decode(measured, measured.before)
    return phase.result.activity(phase.name, RUN_SLICES)


def layer_rows(measured: Measured) -> tuple[Row, ...]:
    """Return per_layer.csv: decoder layers, then the head."""
    figures = _routing_figures(measured)
    statistics = measured.accuracy.seeds[0].statistics
    rows = [
        _layer_row(measured, layer, figures, statistics) for layer in measured.chip.program.layers
    ]
    program = measured.chip.program
    last = Layer(len(program.layers), program.operations[-1:])
    rows.append(_layer_row(measured, last, figures, statistics, block="head"))
    return tuple(rows)


def _routing_figures(measured: Measured) -> dict[str, Floats]:
    """Figures of every MoE layer, mean over seeds, [layers]."""
    clean, seeds = measured.accuracy.clean, measured.accuracy.seeds
    found: dict[str, Floats] = {"expert_load_cv_clean": load_cv(clean.trace.load())}
    for stage, suffix in (("noisy", ""), ("calibrated", "_calibrated")):
        scores = [getattr(s, stage) for s in seeds]
        loads = [s.trace.load() for s in scores]
        agreement = [topk_agreement(clean.experts, s.experts) for s in scores]
        found[f"topk_agreement{suffix}"] = np.mean(agreement, axis=0)
        found[f"expert_load_cv{suffix}"] = np.mean([load_cv(x) for x in loads], axis=0)
        found[f"expert_load_gini{suffix}"] = np.mean([gini(x) for x in loads], axis=0)
        shift = [total_variation(clean.trace.load(), x) for x in loads]
        found[f"expert_load_shift{suffix}"] = np.mean(shift, axis=0)
    return found


def _layer_row(
    measured: Measured,
    layer: Layer,
    figures: dict[str, Floats],
    statistics: MacStatistics,
    block: str = "",
) -> Row:
    placement = measured.chip.placement
    units = [u for k, u in placement.units.items() if k.layer == layer.index]
    copies = {k: len(v) for k, v in placement.seats_of.items()}
    counts = [c for m, c in statistics if m.layer == layer.index]
    conversions = sum(c.conversions for c in counts)
    reasons: dict[str, str] = {}
    if not conversions:
        reasons |= dict.fromkeys(("conversions_per_token", "adc_clip_rate"), "no conversions")
    moe = measured.chip.program.moe_layers
    shares: dict[str, object] = {}
    for name, values in figures.items():
        shares[name] = float(values[moe.index(layer.index)]) if layer.is_moe else None
        if not layer.is_moe:
            reasons[name] = "no router"
    return PER_LAYER.row(
        {
            "config": measured.chip.config.name,
            "model": measured.chip.program.name,
            "layer": layer.index,
            "block": block or ("moe" if layer.is_moe else "dense"),
            "experts": len(layer.experts),
            "top_k": layer.top_k,
            "macs_per_token": float(layer.active_macs()),
            "crossbars": sum(u.crossbars * copies.get(u.key, 1) for u in units),
            "cells": sum(_cells(u, copies) for u in units),
            "conversions_per_token": conversions / measured.tokens if conversions else None,
            "adc_clip_rate": (
                sum(c.clipped for c in counts) / conversions if conversions else None
            ),
            **shares,
        },
        reasons,
    )


def _cells(unit: Unit, copies: dict[UnitKey, int]) -> int:
    return unit.cells * copies.get(unit.key, 1)
