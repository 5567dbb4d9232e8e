"""READ FIRST: the flow of one run, one call per arrow.

    YAML -> config -> chip graph -> mapping -> +-- functional: noisy MACs, routing --+ -> results
                     model + text -> program --+-- events: time, energy, contention --+

Numbers come first and time replays them (trace mode): that is exact as long as no state of
the chip depends on time. Where it does (noisy experts switched on demand, drift that goes on
while the run lasts, least loaded copies that err apart) the event engine drives the model, and
each visit computes its numbers when it is served (coupled mode, `cimsim.stages.coupled`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from cimsim.config import ChipConfig
from cimsim.results import ChipResult
from cimsim.stages.accuracy import GivenCorrection
from cimsim.stages.chip_result import chip_result
from cimsim.stages.coupling import choose_mode
from cimsim.stages.models import Texts
from cimsim.stages.opened import Opened
from cimsim.stages.outcome import evaluate
from cimsim.stages.placed_chip import place_chip
from cimsim.stages.ranges import find_ranges
from cimsim.stages.subject import open_subject

__all__ = ["run_chip"]


def run_chip(
    config: ChipConfig,
    model: str,
    texts: Texts,
    *,
    correction: Path | None = None,
    force: bool = False,
    threads: int = 1,
    opened: Opened | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> ChipResult:
    """Run one model on one chip: accuracy, time, energy.

    Args:
        config: the chip.
        model: bundled name or checkpoint folder.
        texts: scored and calibration text.
        correction: a saved correction to apply instead of calibrating.
        force: apply a correction that was made for something else.
        threads: chip seeds evaluated at once; changes time only.
        opened: stages that are kept, and what the process has open; None begins with nothing.
        progress: told (stage, share done).

    Raises:
        CimsimError: if chip, model and text do not go together.
        SimulationError: if the simulation cannot finish.
    """
    started = time.monotonic()
    progress = progress or _silent
    subject = open_subject(model, texts, config, opened)
    given = GivenCorrection.open(correction, config, subject.checkpoint.hash, force=force)
    progress("placing", 0.0)
    chip = place_chip(config, subject.program, subject.expected)
    mode = choose_mode(config, chip.placement)
    progress("converter ranges", 0.03)
    ranges = find_ranges(config, subject, chip.copies)
    outcome = evaluate(chip, subject, ranges, given, mode, threads, _paths(progress))
    return chip_result(config.name, chip, subject, outcome, started)


def _paths(progress: Callable[[str, float], None]) -> Callable[[str, float], None]:
    """Return progress of both paths as a share of the whole run."""
    return lambda stage, share: progress(stage, 0.05 + 0.95 * share)


def _silent(stage: str, share: float) -> None:
    """Report to nobody."""
