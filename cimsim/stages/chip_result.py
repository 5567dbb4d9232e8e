"""The tables of one chip and model, from what both paths measured."""

from __future__ import annotations

import time

import numpy as np

from cimsim.config.load import dump_yaml
from cimsim.results import ChipResult, TileLoad
from cimsim.stages.diagnosis import diagnosis
from cimsim.stages.first_seed import FirstSeed
from cimsim.stages.measured import ChipMeasurement
from cimsim.stages.outcome import Outcome
from cimsim.stages.peaks import peak_rows
from cimsim.stages.placed_chip import PlacedChip
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

__all__ = ["chip_result"]


def chip_result(
    name: str,
    chip: PlacedChip,
    subject: ModelOnText,
    outcome: Outcome,
    started_s: float,
) -> ChipResult:
    """Return every table of a run.

    Args:
        name: of the result.
        chip: the chip with its program.
        subject: the model and its texts.
        outcome: numbers, time and energy.
        started_s: `time.monotonic` when the run began.
    """
    config, program, first = chip.config, chip.program, outcome.first
    measured = ChipMeasurement(
        chip=chip,
        accuracy=outcome.accuracy,
        before=first.before,
        after=first.after,
        tile_load=_tile_load(chip, first),
        calibration=first.calibration,
        tokens=subject.windows.size,
    )
    return ChipResult(
        name=name,
        row=result_row(measured),
        config_yaml=dump_yaml(config),
        per_layer=layer_rows(measured),
        per_seed=seed_rows(measured),
        energy=all_energy_rows(measured),
        scale=first.scale,
        peak=peak_rows(config, program.name, chip.mesh, first.density),
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


def _tile_load(chip: PlacedChip, first: FirstSeed) -> TileLoad:
    """Return the load of tiles in the main decode phase, and that of a round-robin placement."""
    mesh, batch = chip.mesh, max(chip.config.run.decode_batch)
    held = np.zeros(mesh.n_tiles, dtype=np.bool_)
    held[chip.placement.occupied_tiles] = True
    return TileLoad(
        mesh.tile_places,
        mesh.tile_cells,
        held,
        first.before.decode(batch).result.tile_load_ps,
        first.after.decode(batch).result.tile_load_ps,
        first.dealt_load_ps,
    )
