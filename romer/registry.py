"""Calibrators by name: steps, and methods that string steps together.

A step is a pure function of (task, correction so far, routers of the noisy model under it)
that returns a candidate correction, or the same correction if it has nothing to do.
A step that has one free number takes another one after an @: ``bias_r3@0.2``.
Third parties add steps through the entry-point group ``romer.steps``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import entry_points

from cimsim.errors import CimsimError, nearest
from cimsim.model import Correction
from romer.record import Routers
from romer.steps import (
    digital_terms,
    norm_gain,
    offload,
    recalibration,
    refit,
    replacement,
    replication,
    temperature,
)
from romer.task import Task

__all__ = ["METHODS", "NUMBERS", "Step", "find_steps", "step_of", "steps_of"]

Step = Callable[[Task, Correction, Routers], Correction]

STEPS: Mapping[str, Step] = {
    "replace_e1": replacement.rewrite_weights,
    "replace_e2": replacement.copy_weights_and_row,
    "replace_e2_split": replacement.copy_and_split_load,
    "replace_e3": replacement.rewrite_fixed_count,
    "clamp_r1": recalibration.clamp,
    "margin_r2": recalibration.margin,
    "bias_r3": recalibration.load_bias,
    "match_r4": recalibration.match_percentiles,
    "quantile_map": recalibration.quantile_map,
    "router_refit": refit.refit_router,
    "columns": digital_terms.fit_columns,
    "low_rank": digital_terms.fit_low_rank,
    "digital_terms": digital_terms.fit_terms,
    "norm_gain": norm_gain.fit_norm_gain,
    "average_copies": replication.average_copies,
    "copy_dense": replication.copy_dense,
    "offload_fragile": offload.offload_fragile,
    "offload_random": offload.offload_random,
    "offload_attention": offload.offload_attention,
    "offload_router": offload.offload_router,
    "temperature": temperature.fit_temperature,
    "temperature_bias": temperature.fit_temperature_and_bias,
}

# What the number of a step is, and its range.
NUMBERS: Mapping[str, tuple[str, float, float]] = {
    "replace_e1": ("share of the mean load below which an expert is cold", 0.0, 1.0),
    "replace_e2": ("share of the mean load below which an expert is cold", 0.0, 1.0),
    "replace_e2_split": ("share of the mean load below which an expert is cold", 0.0, 1.0),
    "clamp_r1": ("lambda, in IQR", 0.0, 100.0),
    "margin_r2": ("lambda, in IQR", 0.0, 100.0),
    "bias_r3": ("lambda, in IQR", 0.0, 100.0),
}

METHODS: Mapping[str, tuple[str, ...]] = {
    "identity": (),
    # The paper's two steps under our reading of ROMER.
    "romer": ("replace_e2", "match_r4"),
    # Beyond the paper.
    "romer_plus": ("copy_dense", "digital_terms", "replace_e2"),
}


def find_steps() -> dict[str, Step]:
    """Return every step by name, third-party ones included."""
    steps = dict(STEPS)
    for point in entry_points(group="romer.steps"):
        if point.name not in steps:
            steps[point.name] = point.load()
    return steps


def step_of(name: str) -> Step:
    """Return one step by name, with its number if the name gives one.

    Raises:
        CimsimError: if there is no such step, or the number is none that it takes.
    """
    base, at, number = name.partition("@")
    steps = find_steps()
    if base not in steps:
        raise CimsimError(
            "is not a calibrator",
            key="calibration.method",
            value=name,
            allowed=f"{', '.join(METHODS)}, or steps joined by '+': {', '.join(steps)}",
            hint=nearest(base, [*METHODS, *steps]),
        )
    if not at:
        return steps[base]
    if base not in NUMBERS:
        raise CimsimError(
            "this step takes no number",
            key="calibration.method",
            value=name,
            allowed=", ".join(f"{known}@NUMBER" for known in NUMBERS),
        )
    what, low, high = NUMBERS[base]
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise CimsimError(
            f"{what} is out of range",
            key="calibration.method",
            value=name,
            allowed=f"{base}@NUMBER with a number from {low:g} to {high:g}",
        )
    numbered: Callable[..., Correction] = steps[base]
    return partial(numbered, amount=value)


def steps_of(method: str) -> tuple[str, ...]:
    """Return the steps of a method: a registered name, or step names joined by '+'.

    Raises:
        CimsimError: if a name is not registered.
    """
    if method in METHODS:
        return METHODS[method]
    names = tuple(part.strip() for part in method.split("+"))
    for name in names:
        step_of(name)
    return names
