"""Calibration: each step of a method is fitted, tried on fresh documents, kept or dropped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property

from cimsim.errors import CimsimError
from cimsim.model import Correction, identity
from romer.acceptance import AcceptLoss, Verdict, accept_loss, compare
from romer.record import RouterRecord, Routers, record_routers
from romer.registry import step_of, steps_of
from romer.task import Task

__all__ = ["NOTHING_TO_CORRECT_NATS", "Calibrated", "Untreated", "calibrate", "lazy_routers"]

# A chip whose predictions are this close to the clean model's has nothing to correct but
# the rounding of its number formats: 0.05 % in perplexity.
NOTHING_TO_CORRECT_NATS = 5e-4


@dataclass(frozen=True)
class Calibrated:
    """A correction and how it came about.

    Attributes:
        correction: what to apply; the identity if no step was kept.
        verdicts: one per step that had something to propose.
        start_nats: expected loss of the ACCEPT text before the first step, nats per token above the
            clean model's; None where nothing was measured.
        pass_tokens: tokens of text that were sent through the chip for it.
    """

    correction: Correction
    verdicts: tuple[Verdict, ...]
    start_nats: float | None = None
    pass_tokens: int = 0


class Untreated:
    """What a chip says before a method corrects anything: where the method starts.

    Measured when first asked for and kept, so that several methods on one chip share it.

    Args:
        task: what the calibrator sees.
        correction: what is corrected already; None for nothing.
    """

    def __init__(self, task: Task, correction: Correction | None = None) -> None:
        self.task = task
        self.correction = correction or identity(task.model_hash, task.chip_hash)
        self._after: dict[str, tuple[Calibrated, Untreated]] = {}

    @cached_property
    def loss(self) -> AcceptLoss:
        """Losses of the ACCEPT text."""
        return accept_loss(self.task, self.correction)

    @cached_property
    def _record(self) -> RouterRecord:
        return lazy_routers(self.task, self.correction)()

    def routers(self) -> RouterRecord:
        """Return what the routers saw and said over the FIT text."""
        return self._record

    def after(self, method: str) -> tuple[Calibrated, Untreated]:
        """Return what a method does, kept whatever it does to a text, and the start after it."""
        if method not in self._after:
            found = calibrate(self.task, method, guarded=False, untreated=self)
            self._after[method] = found, Untreated(self.task, found.correction)
        return self._after[method]


def calibrate(
    task: Task,
    method: str,
    *,
    guarded: bool = True,
    untreated: Untreated | None = None,
) -> Calibrated:
    """Calibrate a deployed model.

    Args:
        task: what the calibrator sees.
        method: registered method, or steps joined by '+'.
        guarded: keep a step only if it lowers the ACCEPT loss as `romer.acceptance` says;
            False keeps every step (for studies).
        untreated: where it starts, of the same task, to share it among methods; None starts at
            nothing.

    Raises:
        CimsimError: if the method is unknown, the model has no router, or statistics are not
            finite.
    """
    names = steps_of(method)
    untreated = untreated or Untreated(task)
    current = replace(untreated.correction, method=method)
    if not names:
        return Calibrated(current, ())
    if not task.decoder.program.moe_layers:
        raise CimsimError(
            "the model has no layer with a router that calibration recognises",
            key="--model",
            allowed="a linear router and top-k experts in at least one layer",
        )
    verdicts: list[Verdict] = []
    before = task.passed.tokens
    loss = untreated.loss
    start_nats = float(loss.expected.mean())
    if start_nats < NOTHING_TO_CORRECT_NATS:
        return Calibrated(current, (), start_nats, task.passed.tokens - before)
    routers: Routers = untreated.routers
    for name in names:
        proposed = step_of(name)(task, current, routers)
        if proposed is current or proposed.same_as(current):
            continue
        new_loss = accept_loss(task, proposed)
        verdict = compare(name, loss, new_loss, min_gain_nats=task.min_gain_nats)
        if not guarded:
            verdict = replace(verdict, kept=True)
        verdicts.append(verdict)
        if verdict.kept:
            current, loss = proposed, new_loss
            routers = lazy_routers(task, current)
    passed = task.passed.tokens - before
    return Calibrated(replace(current, method=method), tuple(verdicts), start_nats, passed)


def lazy_routers(task: Task, correction: Correction) -> Routers:
    """Return what records the routers under a correction when it is first asked."""

    @cache
    def record() -> RouterRecord:
        task.passed.tokens += task.text.fit.size
        return record_routers(task.decoder, task.linear(correction), correction, task.text.fit)

    return record
