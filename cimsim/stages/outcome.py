"""Numbers and time of one chip: in trace mode one after the other, in coupled mode together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from cimsim.mac import AdcRange
from cimsim.stages.accuracy import Accuracy, GivenCorrection, measure_accuracy
from cimsim.stages.coupled import CoupledChip
from cimsim.stages.coupling import drifts_within, refuse_torch, refuse_trace
from cimsim.stages.first_seed import FirstSeed, time_first
from cimsim.stages.placed_chip import PlacedChip
from cimsim.stages.scoring import Seed
from cimsim.stages.subject import ModelOnText
from cimsim.stages.timing import longest_ps
from cimsim.workload.matrix import MatrixId

__all__ = ["Outcome", "evaluate"]

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Outcome:
    """What both paths of a run gave.

    Attributes:
        accuracy: of the functional path, all chip seeds.
        first: time, energy and what else depends on the routing of chip seed 0.
    """

    accuracy: Accuracy
    first: FirstSeed


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
    reason = drifts_within(chip.config, longest_ps(replayed.first.before, replayed.first.after))
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
    timed: list[Future[FirstSeed]] = []
    beside = ThreadPoolExecutor(1)

    def begin(seed: Seed) -> None:
        together = coupled is not None
        timed.append(beside.submit(time_first, chip, subject, seed, threads, coupled=together))

    try:
        # Where a device computes chips one after the other, its processor is free meanwhile.
        first = None if subject.compute.seeds_at_once else begin
        accuracy = measure_accuracy(chip, subject, ranges, given, coupled, threads, progress, first)
        progress("events", 1.0)
        if not timed:
            begin(accuracy.seeds[0])
        return Outcome(accuracy, timed[0].result())
    finally:
        beside.shutdown(wait=False)  # who stops a run does not wait for the events of a seed
