"""What a correction costs on its chip, and what it does to latency: the engine's own figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from cimsim.model import Correction
from cimsim.results.statistics import percentile
from cimsim.stages.calibration_cost import CalibrationCost, calibration_cost
from cimsim.stages.placed_chip import PlacedChip
from cimsim.stages.timing import Replay, time_phase
from cimsim.units import OPS_PER_MAC, PS_PER_US
from cimsim.workload.program import Program
from cimsim.workload.trace import RoutingTrace
from romer.study.studied_design import StudiedDesign

__all__ = ["charge", "decode", "offloaded_macs", "replay"]

Record = dict[str, Any]


def charge(design: StudiedDesign, correction: Correction) -> tuple[CalibrationCost, Record]:
    """Return the cost of a correction: cells, energy and time of writing, digital work.

    Products that left the cells count as digital work here, experts' at an even load.
    """
    cost = calibration_cost(design.placed, correction)
    return cost, {
        "digital_ops_per_token": cost.ops_per_token
        + OPS_PER_MAC * offloaded_macs(correction, design.placed.program),
        "cells_rewritten": cost.cells,
        "programming_nj": cost.energy_nj,
        "programming_us": cost.time_us,
    }


def offloaded_macs(correction: Correction, program: Program) -> float:
    """Return the MACs per token of what a correction computes digitally instead of in cells."""
    macs = 0.0
    for layer in program.layers:
        for matrix in layer.matrices():
            part, expert = matrix.id.part, matrix.id.expert
            routed = part == "experts"
            if part in correction.offload_parts or (
                routed and (layer.index, expert) in correction.offload_experts
            ):
                macs += matrix.size * (layer.top_k / len(layer.experts) if routed else 1.0)
    return macs


def replay(design: StudiedDesign, trace: RoutingTrace, cost: CalibrationCost | None) -> Record:
    """Replay a routing in decode, at the chip file's largest batch.

    Args:
        design: the chip.
        trace: where its tokens went.
        cost: of the correction under which they went there, or None.
    """
    return decode(design.placed, trace, max(design.config.run.decode_batch), cost)


def decode(
    chip: PlacedChip, trace: RoutingTrace, batch: int, cost: CalibrationCost | None = None
) -> Record:
    """Replay a routing in decode.

    Returns:
        99th percentile of the time per output token (None with too few samples), energy per
        token, and the busiest tile's load over the mean of tiles that hold weights.
    """
    replay = Replay(trace) if cost is None else Replay(trace, cost.work, cost.copies)
    phase = time_phase(chip, replay, None, name=f"decode_b{batch}", batch=batch)
    p99_ps = percentile(phase.result.tpot_ps, 99)
    load = phase.result.tile_load_ps[chip.placement.occupied_tiles]
    return {
        "p99_us": None if p99_ps is None else p99_ps / PS_PER_US,
        "energy_per_token_nj": phase.energy_per_token_nj,
        "tile_max_mean": float(load.max() / np.mean(load)),
    }
