"""Compiling kernels before the chips of a run need them, those of placing beside the others.

On an empty cache every process compiles what it calls, so that two that run chips compile the
same kernels twice, one after the other. The first such run therefore begins with two tasks: one
places a model, the other runs a small text on a plain placement. What they compute is thrown away;
their kernels go to the cache, where the chips find them. Chip and model are bundled ones, whatever
is run: each task calls a kernel that tells by its presence that the task need not be done again,
and a large model is not read for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from cimsim.config import ChipConfig
from cimsim.config.load import find_chip, load_chip
from cimsim.engine.events.loop import advance
from cimsim.kernel_cache import is_missing
from cimsim.stages.accuracy import GivenCorrection
from cimsim.stages.models import read_text
from cimsim.stages.outcome import evaluate
from cimsim.stages.placed_chip import PlacedChip, place_chip
from cimsim.stages.ranges import find_ranges
from cimsim.stages.subject import ModelOnText, open_subject
from cimsim.sweeps.executor import PlanTask, Tell, Workplace
from cimsim.sweeps.processes import LocalProcesses
from moe_mapping.balance import lower_peak

__all__ = ["CompileTask", "compile_kernels"]

CHIP, MODEL = "eflash_40nm", "olmoe-tiny"
SMALL = ("run.chip_seeds=1", "run.engine=compiled", "calibration.method=identity")
POLICIES = {"placing": "auto", "others": "round_robin"}
"""Tasks, and the placement of each: whose kernels are wanted, or one that has hardly any."""


@dataclass(frozen=True)
class CompileTask(PlanTask[None]):
    """Compiles the kernels of one half of a run; its name is one of `POLICIES`."""

    def run(self, place: Workplace) -> None:
        """Call the kernels."""
        place("compiling kernels", 0.0)
        config = load_chip(find_chip(CHIP), (*SMALL, f"mapping.policy={POLICIES[self.name]}"))
        subject = open_subject(MODEL, read_text(None), _one_window(config))
        chip = place_chip(config, subject.program, subject.expected)
        if self.name == "others":
            _compute(chip, subject)


def compile_kernels(tell: Tell) -> None:
    """Compile in two processes what the cache does not hold; do nothing where it holds it.

    Args:
        tell: hears how far it is.
    """
    if not (is_missing(lower_peak) or is_missing(advance)):
        return
    with LocalProcesses(len(POLICIES)) as processes:
        for finished in processes.submit([CompileTask(half) for half in POLICIES], tell):
            finished.value()


def _one_window(config: ChipConfig) -> ChipConfig:
    workload = config.workload.model_copy(update={"tokens": config.workload.context})
    return config.model_copy(update={"workload": workload})


def _compute(chip: PlacedChip, subject: ModelOnText) -> None:
    given = GivenCorrection.open(None, chip.config, subject.checkpoint.hash, force=False)
    ranges = find_ranges(chip.config, subject, chip.copies)
    evaluate(chip, subject, ranges, given, "trace", 1, lambda _stage, _share: None)
