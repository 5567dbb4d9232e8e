"""Compiling kernels before the chips of a run need them, those of placing beside the others.

On an empty cache every process compiles what it calls, so that two that run chips compile the
same kernels twice, one after the other. The first such run therefore begins with two tasks: one
places the model, the other runs a small text on a plain placement. What they compute is thrown
away; their kernels go to the cache, where the chips find them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cimsim.cache import NO_CACHE
from cimsim.config import ChipConfig
from cimsim.engine.events.loop import advance
from cimsim.errors import CimsimError
from cimsim.kernel_cache import is_missing
from cimsim.stages.accuracy import GivenCorrection
from cimsim.stages.models import Texts
from cimsim.stages.outcome import evaluate
from cimsim.stages.placed_chip import place_chip
from cimsim.stages.ranges import find_ranges
from cimsim.stages.subject import open_subject
from cimsim.sweeps.executor import PlanTask, Tell, Workplace
from cimsim.sweeps.processes import LocalProcesses
from moe_mapping.balance import lower_peak

__all__ = ["CompileTask", "compile_kernels"]

Kernels = Literal["placing", "others"]


@dataclass(frozen=True)
class CompileTask(PlanTask[None]):
    """Compiles the kernels of one half of a run, named by `Kernels`, as one chip needs them."""

    config: ChipConfig
    model: str
    texts: Texts

    def run(self, place: Workplace) -> None:
        """Call the kernels; what is wrong with a chip, its own run says."""
        place("compiling kernels", 0.0)
        with suppress(CimsimError):
            if self.name == "placing":
                subject = open_subject(self.model, self.texts, self.config, NO_CACHE)
                place_chip(self.config, subject.program, subject.expected)
            else:
                _compute(_small(self.config), self.model, self.texts)


def compile_kernels(
    config: ChipConfig, model: str, texts: Texts, plugins: Sequence[Path], tell: Tell
) -> None:
    """Compile in two processes what the cache does not hold; do nothing where it holds it.

    Args:
        config: a chip whose kernels are wanted.
        model: bundled name or checkpoint folder.
        texts: scored and calibration text.
        plugins: files that the processes load.
        tell: hears how far it is.
    """
    if not (is_missing(lower_peak) or is_missing(advance)):
        return
    halves: tuple[Kernels, ...] = ("placing", "others")
    with LocalProcesses(len(halves), plugins) as processes:
        for finished in processes.submit(
            [CompileTask(half, config, model, texts) for half in halves], tell
        ):
            finished.value()


def _small(config: ChipConfig) -> ChipConfig:
    """Return the chip with as little work as calls every kernel but those of placing."""
    return config.model_copy(
        update={
            "run": config.run.model_copy(update={"chip_seeds": 1}),
            "workload": config.workload.model_copy(update={"tokens": config.workload.context}),
            "mapping": config.mapping.model_copy(update={"policy": "round_robin"}),
            "calibration": config.calibration.model_copy(update={"method": "identity"}),
        }
    )


def _compute(config: ChipConfig, model: str, texts: Texts) -> None:
    subject = open_subject(model, texts, config, NO_CACHE)
    chip = place_chip(config, subject.program, subject.expected)
    given = GivenCorrection.open(None, config, subject.checkpoint.hash, force=False)
    ranges = find_ranges(config, subject, chip.copies)
    evaluate(chip, subject, ranges, given, "trace", 1, lambda _stage, _share: None)
