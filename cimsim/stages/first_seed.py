"""What the routing of chip seed 0 takes: time, energy, the chip at full size, load of tiles.

Nothing of it is read by another chip seed, and all of it is a processor's work. Where a device
computes chip seeds one after the other it is done beside them (`cimsim.stages.outcome`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimsim.chip import UnitKey
from cimsim.cost import Density
from cimsim.results import Row
from cimsim.stages.calibration_cost import CalibrationCost, calibration_cost
from cimsim.stages.coupled import charge_phases
from cimsim.stages.placed_chip import PlacedChip, tile_load_ps
from cimsim.stages.scale import scale_rows
from cimsim.stages.scoring import Seed
from cimsim.stages.shapes import identity_of
from cimsim.stages.subject import ModelOnText
from cimsim.stages.timing import Replay, TimedPhases, densities, time_routings
from cimsim.workload.shapes import SHAPES
from cimsim.workload.trace import RoutingTrace

__all__ = ["FirstSeed", "time_first"]


@dataclass(frozen=True)
class FirstSeed:
    """What chip seed 0 takes.

    Attributes:
        calibration: what calibrating it costs.
        density: bit and level densities that its tiles measured.
        before: time and energy with its routing before calibration.
        after: the same after calibration.
        scale: figures of the chip with a model of full size.
        dealt_load_ps: what tiles would carry were units dealt to them in turn, [tiles]; None on a
            chip that switches experts.
    """

    calibration: CalibrationCost
    density: Mapping[UnitKey, Density]
    before: TimedPhases
    after: TimedPhases
    scale: tuple[Row, ...]
    dealt_load_ps: NDArray[np.int64] | None


def time_first(
    chip: PlacedChip, subject: ModelOnText, seed: Seed, threads: int, *, coupled: bool
) -> FirstSeed:
    """Return what chip seed 0 takes.

    Args:
        chip: the chip with its program.
        subject: the model and its texts.
        seed: chip seed 0.
        threads: phases that are timed at once, at most.
        coupled: its phases were computed with its numbers; else its routing is replayed.
    """
    density, routing = densities(chip, seed.statistics), seed.noisy.trace
    paid = calibration_cost(chip, seed.calibration.correction)
    before, after = _phases(chip, subject, seed, density, paid, threads, coupled=coupled)
    switches = chip.placement.slots
    return FirstSeed(
        calibration=paid,
        density=density,
        before=before,
        after=after,
        scale=_full_size(chip, subject, routing, density, threads),
        dealt_load_ps=None if switches else tile_load_ps(chip, routing, "round_robin"),
    )


def _phases(
    chip: PlacedChip,
    subject: ModelOnText,
    seed: Seed,
    density: Mapping[UnitKey, Density],
    paid: CalibrationCost,
    threads: int,
    *,
    coupled: bool,
) -> tuple[TimedPhases, TimedPhases]:
    """Return time and energy before and after calibration."""
    if coupled:
        before = charge_phases(chip, seed.phases, density, None)
        return before, charge_phases(chip, seed.calibrated_phases, density, paid.copies)
    replays = [Replay(seed.noisy.trace)]
    if not seed.calibration.correction.is_identity:
        replays.append(Replay(seed.calibrated.trace, paid.work, paid.copies))
    load = subject.expected.load()
    timed = time_routings(chip, replays, density, expected_load=load, threads=threads)
    return timed[0], timed[-1]  # what changes nothing takes the same time


def _full_size(
    chip: PlacedChip,
    subject: ModelOnText,
    routing: RoutingTrace,
    density: Mapping[UnitKey, Density],
    threads: int,
) -> tuple[Row, ...]:
    """Return the figures of the chip with a model of full size: a stage of a run."""
    stage, model = subject.stages.watch(config=chip.config), subject.program.name
    config = stage.views["config"]
    return stage.recall(
        "full size",
        {
            "model": model,
            "load": routing.load(),
            "density": density,
            "shapes": SHAPES,
            "shape": identity_of(chip.config.workload.shape),
        },
        lambda: scale_rows(config, model, routing, density, threads),
    )
