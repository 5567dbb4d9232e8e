"""The same tile at the shape of a full-size model: scale.csv.

A chip is fitted to the shape with the configured tile, the head on crossbars too; units sit
in program order, one copy each. Tokens are routed with the chip's own load profile: layer l
of the shape takes the measured load of layer l mod L, experts renamed by a keyed
permutation, and every token draws k distinct experts with Gumbel-top-k on the logarithms of
the load. Load skew is kept, co-activation is not.

Decode is timed over the last tokens of a full context, as many as make the error of the time
per token small (`cimsim.stages.steady`); a batch on a chip of many routers gets fewer, so that a
run stays short. The largest batch is timed once more with an off-chip memory that transfers in
no time (latency and energy stay): what tiles, digital units and network would do.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import (
    ChipMesh,
    Placement,
    Unit,
    UnitKey,
    analog_units,
    build_system,
    seats_in_order,
)
from cimsim.config import AnalogPart, ChipConfig
from cimsim.cost import CostModel, Density
from cimsim.cost.density import mean_density
from cimsim.elementary_arrays import log_of
from cimsim.results import Row
from cimsim.results.scale_rows import FREE_MEMORY
from cimsim.rng import derive_key, uniform_bits_at
from cimsim.stages.columns.registry import extended
from cimsim.stages.columns.scale import SCALE, FullSize
from cimsim.stages.dies import count_dies
from cimsim.stages.placed_chip import PlacedChip
from cimsim.stages.shapes import open_shape
from cimsim.stages.timing import Replay, time_phase
from cimsim.workload.program import Program
from cimsim.workload.trace import RoutingTrace

__all__ = [
    "CONTEXT",
    "DECODE_BATCHES",
    "FULL_SIZE",
    "decode_window",
    "fit_shape",
    "left_out",
    "mean_context",
    "route_shape",
    "scale_rows",
]

CONTEXT = 2048
DECODE_BATCHES = (1, 32)
ALONE_STEPS = 24  # tokens of a sequence that is decoded alone, ending at the full context
BATCH_STEPS = (8, 16)  # least and most of every sequence of a batch
ROUTER_TOKENS = 8e6  # routers x tokens of a batch: five seconds of a core
ENDLESS_GB_PER_S = 1e12
FULL_SIZE = ("mesh", "torus", "cmesh")
_PURPOSE = 0x5CA1E


def scale_rows(
    config: ChipConfig,
    model: str,
    trace: RoutingTrace,
    density: Mapping[UnitKey, Density],
    threads: int = 1,
) -> tuple[Row, ...]:
    """Return the rows of scale.csv of one chip and model.

    A full-size network is too large to simulate flit by flit: it runs at the packet level. Other
    networks than meshes do not grow to thousands of routers: their chips have no rows.

    Args:
        config: the chip; its tile count is replaced by what the shape needs.
        model: name of the checkpoint whose routing is resampled.
        trace: routing of that checkpoint on the chip.
        density: densities that its tiles measured.
        threads: phases timed at once, at most.
    """
    if config.noc.kind not in FULL_SIZE:
        return ()
    noc = config.noc.model_copy(update={"level": "packet"})
    config = config.model_copy(update={"noc": noc})
    full = fit_shape(config, open_shape(config.workload.shape))
    spread = _spread_density(full.units, density)
    load = np.maximum(trace.load().astype(np.float64), 0.5)
    prefill = route_shape(full.program, load, np.zeros(CONTEXT, np.int64), np.arange(CONTEXT))
    phases = [("prefill", 1, full, prefill, (CONTEXT + 1) / 2)]
    for batch in DECODE_BATCHES:
        steps = _steps(batch, full.mesh.n_routers)
        routed = route_shape(full.program, load, *decode_window(batch, steps))
        phases.append(("decode", batch, full, routed, mean_context(steps)))
    _, batch, _, routed, attended = phases[-1]
    phases.append((FREE_MEMORY, batch, _free_memory(full), routed, attended))
    table = extended(SCALE)
    dies = count_dies(full.cost.area_mm2(), full.mesh.chips)

    def row(phase: tuple[str, int, PlacedChip, RoutingTrace, float]) -> Row:
        name, batch, chip, routed, attended = phase
        timed = time_phase(chip, Replay(routed), spread, name=name, batch=batch)
        return table.measure(FullSize(chip, model, timed, CONTEXT, attended, dies))

    # No phase knows of another one.
    with ThreadPoolExecutor(max(1, min(threads, len(phases)))) as pool:
        return tuple(pool.map(row, phases))


def _steps(batch: int, routers: int) -> int:
    """Return the tokens of every sequence that are timed."""
    if batch == 1:
        return ALONE_STEPS
    least, most = BATCH_STEPS
    return int(min(most, max(least, ROUTER_TOKENS // (batch * routers))))


def decode_window(batch: int, steps: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return sequence and position of tokens that end at the full context."""
    return np.repeat(np.arange(batch), steps), np.tile(np.arange(CONTEXT - steps, CONTEXT), batch)


def mean_context(steps: int) -> float:
    """Return the tokens that one of `decode_window` attends to, mean."""
    return CONTEXT - (steps - 1) / 2


def _free_memory(chip: PlacedChip) -> PlacedChip:
    """Return a chip with an off-chip memory that transfers in no time."""
    memory = chip.config.memory.model_copy(update={"channel_gb_per_s": ENDLESS_GB_PER_S})
    return replace(chip, config=chip.config.model_copy(update={"memory": memory}))


def left_out(config: ChipConfig) -> tuple[str, ...]:
    """Return a warning where scale.csv has no rows of a chip."""
    kind = config.noc.kind
    if kind in FULL_SIZE:
        return ()
    return (
        f"scale.csv leaves out {config.name}: noc.kind {kind} does not grow to a full-size model "
        f"({', '.join(FULL_SIZE)} do)",
    )


def fit_shape(config: ChipConfig, program: Program) -> PlacedChip:
    """Fit a chip to a full-size shape: as many tiles as hold every analog matrix once.

    Args:
        config: the chip.
        program: the shape.
    """
    fitted = config.model_copy(
        update={
            "chip": config.chip.model_copy(
                update={
                    "tiles": "fit",
                    "spare_fraction": 0.0,
                    "switching": "refuse",
                    "analog_parts": _parts(config),
                }
            ),
            "workload": config.workload.model_copy(update={"context": CONTEXT, "in_flight": 1}),
        }
    )
    units = analog_units(program, fitted)
    mesh = build_system(fitted, units)
    cost = CostModel(fitted, mesh, program)
    return PlacedChip(fitted, program, mesh, cost, _in_order(fitted, mesh, units))


def _parts(config: ChipConfig) -> tuple[AnalogPart, ...]:
    """Return what is analog at full size: on a CIM chip the head too.

    A full-size head does not fit the digital units' memory. On a chip without crossbars
    every matrix stays digital and is streamed from DRAM where it does not fit.
    """
    parts = config.chip.analog_parts
    return tuple(dict.fromkeys((*parts, "head"))) if parts else ()


def _in_order(config: ChipConfig, mesh: ChipMesh, units: tuple[Unit, ...]) -> Placement:
    return Placement(
        crossbars_per_tile=mesh.crossbars_per_tile,
        n_tiles=mesh.n_tiles,
        seats=seats_in_order(config, mesh, units),
        units={u.key: u for u in units},
    )


def _spread_density(
    units: tuple[Unit, ...], density: Mapping[UnitKey, Density]
) -> dict[UnitKey, Density]:
    """Give every unit the mean density of the measured units of its part."""
    parts: dict[str, list[Density]] = {}
    for key, measured in density.items():
        parts.setdefault(key.part, []).append(measured)
    means = {part: mean_density(found) for part, found in parts.items()}
    mine = ((u.key, means.get(u.key.part)) for u in units)
    return {key: mean for key, mean in mine if mean is not None}


def route_shape(
    program: Program,
    load: NDArray[np.float64],
    sequence: NDArray[np.int64],
    position: NDArray[np.int64],
) -> RoutingTrace:
    """Route tokens with the measured load profile, [tokens, layers, k]."""
    layers = program.moe_layers
    n_experts, k = program.n_experts, program.top_k
    experts = np.empty((len(sequence), len(layers), k), dtype=np.int16)
    for index in range(len(layers)):
        measured = np.sort(load[index % len(load)])[::-1]
        # A profile of another number of experts is stretched over its ranks.
        ranks = np.linspace(0, len(measured) - 1, n_experts)
        profile = np.interp(ranks, np.arange(len(measured)), measured)
        key = derive_key(_PURPOSE, index)
        order = np.argsort(uniform_bits_at(n_experts, (0, 0, 0), key), kind="stable")
        logits = log_of(profile)[order]
        bits = uniform_bits_at(n_experts, (1, sequence, position), key).astype(np.float64)
        score = logits - log_of(-log_of((bits + 0.5) / 2.0**32))
        experts[:, index] = np.argsort(-score, axis=1, kind="stable")[:, :k]
    return RoutingTrace(experts, sequence, position, n_experts)
