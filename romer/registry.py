"""Calibrators by name: steps, and methods that string steps together.

A step is a pure function of (task, correction so far, routers of the noisy model under it)
that returns a candidate correction, or the same correction if it has nothing to do.
Third parties add steps through the entry-point group ``romer.steps``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

__all__ = ["METHODS", "Step", "find_steps", "steps_of"]

Step = Callable[[Task, Correction, Routers], Correction]

STEPS: Mapping[str, Step] = {
    "replace_e1": replacement.rewrite_weights,
    "replace_e2": replacement.copy_weights_and_row,
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
    "temperature": temperature.fit_temperature,
    "temperature_bias": temperature.fit_temperature_and_bias,
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


def steps_of(method: str) -> tuple[str, ...]:
    """Return the steps of a method: a registered name, or step names joined by '+'.

    Raises:
        CimsimError: if a name is not registered.
    """
    if method in METHODS:
        return METHODS[method]
    names = tuple(part.strip() for part in method.split("+"))
    steps = find_steps()
    for name in names:
        if name not in steps:
            known = [*METHODS, *steps]
            raise CimsimError(
                "is not a calibrator",
                key="calibration.method",
                value=name,
                allowed=f"{', '.join(METHODS)}, or steps joined by '+': {', '.join(steps)}",
                hint=nearest(name, known),
            )
    return names
