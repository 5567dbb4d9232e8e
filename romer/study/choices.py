"""What is decided before any calibrator runs: level L, and the best quantiser.

Uncalibrated chips of development seeds read ACCEPT calibration text: neither test chips
nor test text play a part.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from romer.study.cells import Kind, development_kind
from romer.study.plan import StudyPlan
from romer.study.quantiser import PLAIN

__all__ = ["Losses", "choose_level", "choose_quantiser", "level_kinds", "quantiser_kinds"]

# (clean, noisy) losses of the development chips of a kind, means in nats per token.
Losses = Callable[[Kind], tuple[float, float]]


def level_kinds(plan: StudyPlan, model: str) -> list[Kind]:
    """Return the kinds of chip that level L of a model is chosen among."""
    return [development_kind(plan, model, float(v)) for v in plan["levels"]]


def choose_level(plan: StudyPlan, model: str, losses: Losses) -> tuple[float, bool]:
    """Return level L of a model, and whether any level reached the factor."""
    kinds = level_kinds(plan, model)
    for kind in kinds:
        clean, noisy = losses(kind)
        if np.exp(noisy - clean) >= plan["level_factor"] and kind.sigma is not None:
            return kind.sigma, True
    return float(plan["levels"][-1]), False


def quantiser_kinds(plan: StudyPlan, model: str, sigma: float) -> list[Kind]:
    """Return the kinds of chip that the best quantiser is chosen among."""
    names = (PLAIN, *plan["quantisers"])
    return [development_kind(plan, model, sigma, name) for name in names]


def choose_quantiser(plan: StudyPlan, model: str, sigma: float, losses: Losses) -> str:
    """Return the quantiser with the least mean loss; the plan's first of equals.

    A plan that names none has the plain one.
    """
    kinds = quantiser_kinds(plan, model, sigma)
    if len(kinds) == 1:
        return PLAIN
    return min(kinds[1:], key=lambda kind: losses(kind)[1]).quantiser
