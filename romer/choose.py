"""The best of several steps: each is tried on ACCEPT text, and one at most is kept.

A free number of a step (a threshold, lambda) is chosen as a step is: by the expected loss on
documents that no fit has seen. Of each group the candidate of least loss must pass the guard
(`romer.acceptance`) against what was there before, with as many standard errors as the best of so
many candidates needs (Bonferroni: the tail beyond two of them, shared out); else nothing of the
group is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from romer.acceptance import LEAST_ERRORS, Verdict, accept_loss, compare
from romer.calibration import NOTHING_TO_CORRECT_NATS, Calibrated, Untreated, lazy_routers
from romer.registry import step_of
from romer.task import Task

__all__ = ["READINGS", "choose"]

# Our readings of the paper's two steps, with what their descriptions leave open.
READINGS: tuple[tuple[str, ...], ...] = (
    (
        "replace_e1@0.1", "replace_e1@0.25", "replace_e1@0.5", "replace_e2@0.1",
        "replace_e2@0.25", "replace_e2@0.5", "replace_e3",
    ),
    (
        "match_r4", "quantile_map", "bias_r3@0.05", "bias_r3@0.2", "clamp_r1@1.5",
        "clamp_r1@3", "margin_r2@0.1", "margin_r2@1",
    ),
)  # fmt: skip


def choose(
    task: Task,
    groups: Sequence[Sequence[str]],
    *,
    untreated: Untreated | None = None,
) -> Calibrated:
    """Return a correction of at most one step of each group, in their order.

    Args:
        task: what the calibrator sees.
        groups: names of steps, of which each group is one choice.
        untreated: where it starts, of the same task, to share it; None starts at nothing.

    Returns:
        The correction; verdicts are those of the best candidate of each group.
    """
    untreated = untreated or Untreated(task)
    current, loss, routers = untreated.correction, untreated.loss, untreated.routers
    verdicts: list[Verdict] = []
    if loss.expected.mean() < NOTHING_TO_CORRECT_NATS:
        return Calibrated(current, ())
    for group in groups:
        best = None
        for name in group:
            proposed = step_of(name)(task, current, routers)
            if proposed.same_as(current):
                continue
            found = accept_loss(task, proposed)
            if best is None or found.expected.mean() < best[1].expected.mean():
                best = (name, found, proposed)
        if best is None:
            continue
        verdict = _of_many(
            compare(best[0], loss, best[1], min_gain_nats=task.min_gain_nats), len(group)
        )
        verdicts.append(verdict)
        if verdict.kept:
            loss, current = best[1], best[2]
            routers = lazy_routers(task, current)
    kept = [v.step for v in verdicts if v.kept]
    return Calibrated(replace(current, method="+".join(kept) or "identity"), tuple(verdicts))


def _of_many(verdict: Verdict, candidates: int) -> Verdict:
    """Return a verdict on the best of several candidates, which chance favours."""
    from scipy.special import ndtr, ndtri  # noqa: PLC0415 - a fifth of a second at each start

    errors = -float(ndtri(ndtr(-LEAST_ERRORS) / candidates))
    needed = max(verdict.needed_nats, errors * verdict.error_nats)
    return replace(verdict, needed_nats=needed, kept=verdict.kept and verdict.gain_nats >= needed)
