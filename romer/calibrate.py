"""Calibration: each step of a method is fitted, tried on fresh documents, kept or dropped."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cimsim.errors import CimsimError
from cimsim.model import Correction, identity
from romer.acceptance import Verdict, accept_loss, compare
from romer.record import record_routers
from romer.registry import find_steps, steps_of
from romer.task import Task

__all__ = ["Calibrated", "calibrate"]


@dataclass(frozen=True)
class Calibrated:
    """A correction and how it came about.

    Attributes:
        correction: what to apply; the identity if no step was kept.
        verdicts: one a step that had something to propose.
    """

    correction: Correction
    verdicts: tuple[Verdict, ...]


def calibrate(task: Task, method: str, *, guarded: bool = True) -> Calibrated:
    """Calibrate a deployed model.

    Args:
        task: what the calibrator sees.
        method: registered method, or steps joined by '+'.
        guarded: keep a step only if it lowers the ACCEPT loss by more than a standard
            error; False keeps every step (for studies).

    Raises:
        CimsimError: if the method is unknown or statistics are not finite.
    """
    steps = steps_of(method)
    current = identity(task.model_hash, task.chip_hash, method)
    verdicts: list[Verdict] = []
    if not steps:
        return Calibrated(current, ())
    loss = accept_loss(task, current)
    noisy = None
    for name in steps:
        if noisy is None:
            linear = task.deployment.linear(current, read_seed=task.read_seeds[0], mode=task.mode)
            noisy = record_routers(task.decoder, linear, current, task.text.fit)
            if not np.isfinite(noisy.nll).all():
                raise CimsimError(
                    "the noisy model's loss on calibration text is not finite",
                    key="calibration.method",
                    hint="the chip is too noisy to calibrate, or its ADC range clips everything",
                )
        proposed = find_steps()[name](task, current, noisy)
        if proposed is current or proposed.digest() == current.digest():
            continue
        new_loss = accept_loss(task, proposed)
        verdict = compare(name, loss, new_loss)
        verdicts.append(verdict)
        if verdict.kept or not guarded:
            current, loss, noisy = proposed, new_loss, None
    return Calibrated(replace(current, method=method), tuple(verdicts))
