"""The tables of one chip and model, from what both paths measured."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from cimsim.chip import UnitKey
from cimsim.config import ChipConfig
from cimsim.config.load import dump_yaml
from cimsim.cost import Density
from cimsim.results import ChipResult, Row, TileLoad
from cimsim.stages.diagnosis import diagnosis
from cimsim.stages.measured import ChipMeasurement
from cimsim.stages.outcome import Outcome
from cimsim.stages.peaks import peak_rows
from cimsim.stages.placed_chip import PlacedChip, tile_load_ps
from cimsim.stages.scale import scale_rows
from cimsim.stages.shapes import identity_of
from cimsim.stages.subject import ModelOnText
from cimsim.stages.tables import (
    activity,
    all_energy_rows,
    expert_load,
    latency_samples,
    layer_rows,
    resource_rows,
    result_row,
    seed_rows,
)
from cimsim.stages.warnings import run_warnings
from cimsim.workload.shapes import SHAPES
from cimsim.workload.trace import RoutingTrace

__all__ = ["chip_result"]


def chip_result(
    name: str,
    chip: PlacedChip,
    subject: ModelOnText,
    outcome: Outcome,
    threads: int,
    started_s: float,
) -> ChipResult:
    """Return every table of a run, and the figures of the chip with a model of full size.

    Args:
        name: of the result.
        chip: the chip with its program.
        subject: the model and its texts.
        outcome: numbers, time and energy.
        threads: phases at full size that are timed at once, at most.
        started_s: `time.monotonic` when the run began.
    """
    config, program = chip.config, chip.program
    routing = outcome.accuracy.seeds[0].noisy.trace
    measured = ChipMeasurement(
        chip=chip,
        accuracy=outcome.accuracy,
        before=outcome.before,
        after=outcome.after,
        tile_load=_tile_load(chip, outcome),
        calibration=outcome.calibration,
        tokens=subject.windows.size,
    )
    return ChipResult(
        name=name,
        row=result_row(measured),
        config_yaml=dump_yaml(config),
        per_layer=layer_rows(measured),
        per_seed=seed_rows(measured),
        energy=all_energy_rows(measured),
        scale=_full_size(config, subject, routing, outcome.density, threads),
        peak=peak_rows(config, program.name, chip.mesh, outcome.density),
        tile_load=measured.tile_load,
        expert_load=expert_load(measured),
        latency=latency_samples(measured),
        resources=resource_rows(measured),
        activity=activity(measured),
        warnings=(
            *subject.checkpoint.warnings, *diagnosis(measured, subject),
            *outcome.accuracy.warnings, *run_warnings(measured),
        ),
        notes=chip.cost.notes,
        not_modelled=chip.cost.not_modelled(),
        seconds=time.monotonic() - started_s,
    )  # fmt: skip


def _full_size(
    config: ChipConfig,
    subject: ModelOnText,
    routing: RoutingTrace,
    density: Mapping[UnitKey, Density],
    threads: int,
) -> tuple[Row, ...]:
    """Return the figures of the chip with a model of full size: a stage of a run."""
    stage, model = subject.stages.watch(config=config), subject.program.name
    chip = stage.views["config"]
    return stage.recall(
        "full size",
        {
            "model": model,
            "load": routing.load(),
            "density": density,
            "shapes": SHAPES,
            "shape": identity_of(config.workload.shape),
        },
        lambda: scale_rows(chip, model, routing, density, threads),
    )


def _tile_load(chip: PlacedChip, outcome: Outcome) -> TileLoad:
    """Return the load of tiles in the main decode phase, and that of a round-robin placement."""
    mesh, placement, batch = chip.mesh, chip.placement, max(chip.config.run.decode_batch)
    held = np.zeros(mesh.n_tiles, dtype=np.bool_)
    held[placement.occupied_tiles] = True
    routing = outcome.accuracy.seeds[0].noisy.trace
    return TileLoad(
        mesh.tile_places,
        mesh.tile_cells,
        held,
        outcome.before.decode(batch).result.tile_load_ps,
        outcome.after.decode(batch).result.tile_load_ps,
        None if placement.slots else tile_load_ps(chip, routing, "round_robin"),
    )
