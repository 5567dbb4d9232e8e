"""Numbers and time of one chip: in trace mode one after the other, in coupled mode together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from cimsim.chip import UnitKey
from cimsim.cost import Density
from cimsim.mac import AdcRange
from cimsim.stages.accuracy import Accuracy, GivenCorrection, measure_accuracy
from cimsim.stages.calibration_cost import CalibrationCost, calibration_cost
from cimsim.stages.coupled import CoupledChip, charge_phases
from cimsim.stages.coupling import drifts_within, refuse_torch, refuse_trace
from cimsim.stages.placed_chip import PlacedChip
from cimsim.stages.scoring import Seed
from cimsim.stages.subject import ModelOnText
from cimsim.stages.timing import Replay, TimedPhases, densities, longest_ps, time_routings
from cimsim.workload.matrix import MatrixId

__all__ = ["Outcome", "evaluate"]

Progress = Callable[[str, float], None]
Timed = tuple[CalibrationCost, Mapping[UnitKey, Density], TimedPhases, TimedPhases]
"""What `Outcome` has beside accuracy, in its order."""


@dataclass(frozen=True)
class Outcome:
    """What both paths of a run gave; time is that of chip seed 0.

    Attributes:
        accuracy: of the functional path, all chip seeds.
        calibration: what calibrating chip seed 0 costs.
        density: bit and level densities that its tiles measured.
        before: time and energy with its routing before calibration.
        after: the same after calibration.
    """

    accuracy: Accuracy
    calibration: CalibrationCost
    density: Mapping[UnitKey, Density]
    before: TimedPhases
    after: TimedPhases


def evaluate(
    chip: PlacedChip,
    subject: ModelOnText,
    ranges: Mapping[MatrixId, AdcRange],
    given: GivenCorrection,
    mode: Literal["coupled", "trace"],
    threads: int,
    progress: Progress,
) -> Outcome:
    """Compute numbers and time in a mode.

    Trace mode is exact unless conductances drift by a step of age within the run, and how long
    it lasts is known after it alone: then numbers and time are computed again, together.

    Args:
        chip: the chip with its program.
        subject: the model and its texts.
        ranges: ADC range of every analog matrix.
        given: a correction to apply instead of calibrating.
        mode: in which the run begins.
        threads: chip seeds evaluated at once.
        progress: told (stage, share done of both paths).

    Raises:
        CimsimError: if trace mode is asked for and numbers turn out to depend on time.
    """
    load = subject.expected.load()
    together = CoupledChip(chip, subject.decoder, subject.windows, subject.clean.trace, load)
    if mode == "coupled":
        return _outcome(chip, subject, ranges, given, together, threads, progress)
    replayed = _outcome(chip, subject, ranges, given, None, threads, progress)
    reason = drifts_within(chip.config, longest_ps(replayed.before, replayed.after))
    if reason is None:
        return replayed
    if chip.config.run.coupling == "trace":
        refuse_trace(reason)
    if chip.config.run.backend == "torch":
        refuse_torch(reason)
    return _outcome(chip, subject, ranges, given, together, threads, progress)


def _outcome(
    chip: PlacedChip,
    subject: ModelOnText,
    ranges: Mapping[MatrixId, AdcRange],
    given: GivenCorrection,
    coupled: CoupledChip | None,
    threads: int,
    progress: Progress,
) -> Outcome:
    """Return numbers, and time and energy of chip seed 0; arguments are those of `evaluate`.

    `coupled` computes both together; without it, time replays the routing.
    """
    timed: list[Future[Timed]] = []
    beside = ThreadPoolExecutor(1)

    def begin(seed: Seed) -> None:
        together = coupled is not None
        timed.append(beside.submit(_time, chip, subject, seed, threads, coupled=together))

    try:
        # Where a device computes chips one after the other, its processor is free meanwhile.
        first = None if subject.compute.seeds_at_once else begin
        accuracy = measure_accuracy(chip, subject, ranges, given, coupled, threads, progress, first)
        progress("events", 1.0)
        if not timed:
            begin(accuracy.seeds[0])
        calibration, density, before, after = timed[0].result()
    finally:
        beside.shutdown(wait=False)  # who stops a run does not wait for the events of a seed
    return Outcome(accuracy, calibration, density, before, after)


def _time(
    chip: PlacedChip, subject: ModelOnText, seed: Seed, threads: int, *, coupled: bool
) -> Timed:
    """Return time and energy of a chip seed, by its routing or as it was computed with it."""
    density = densities(chip, seed.statistics)
    paid = calibration_cost(chip, seed.calibration.correction)
    if coupled:
        before = charge_phases(chip, seed.phases, density, None)
        after = charge_phases(chip, seed.calibrated_phases, density, paid.copies)
        return paid, density, before, after
    replays = [Replay(seed.noisy.trace)]
    if not seed.calibration.correction.is_identity:
        replays.append(Replay(seed.calibrated.trace, paid.work, paid.copies))
    load = subject.expected.load()
    timed = time_routings(chip, replays, density, expected_load=load, threads=threads)
    return paid, density, timed[0], timed[-1]  # what changes nothing takes the same time
