"""Calibrators by name: steps, and methods that string steps together.

A step is a pure function of (task, correction so far, routers of the noisy model under it)
that returns a candidate correction, or the same correction if it has nothing to do:

    @register_step("mine")
    def fit(task: Task, correction: Correction, routers: Routers) -> Correction: ...

A step that has one free number takes another one after an @: ``bias_r3@0.2``. Every file in
`romer/steps` registers its own; files of users do the same, and installed packages name theirs
in the entry-point group ``romer.steps``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from cimsim.errors import CimsimError, nearest
from cimsim.model import Correction
from cimsim.registry import Registry
from romer.record import Routers
from romer.task import Task

__all__ = [
    "METHODS",
    "Number",
    "Step",
    "find_steps",
    "number_of",
    "register_step",
    "step_of",
    "steps_of",
]

Step = Callable[[Task, Correction, Routers], Correction]

_STEPS: Registry[Step] = Registry(
    "calibration step", "calibration.method", "romer.steps", "romer.steps"
)
_NUMBERS: dict[str, Number] = {}


@dataclass(frozen=True)
class Number:
    """The free number of a step, its keyword `amount`.

    Attributes:
        meaning: what it is, in a few words.
        least: allowed.
        most: allowed.
    """

    meaning: str
    least: float
    most: float


METHODS: Mapping[str, tuple[str, ...]] = {
    "identity": (),
    # The paper's two steps under our reading of ROMER.
    "romer": ("replace_e2", "match_r4"),
    # Beyond the paper.
    "romer_plus": ("copy_dense", "digital_terms", "replace_e2"),
    # Codes for the error of the cells, then columns, then the steps beyond the paper.
    "recommended": ("clip_columns", "trim_columns", "copy_dense", "digital_terms", "replace_e2"),
}


def register_step(name: str, number: Number | None = None) -> Callable[[Step], Step]:
    """Register a step under a name, for `calibration.method`.

    Args:
        name: of the step, without + and @.
        number: what an @ may change, or None.

    Raises:
        CimsimError: if another step or a method has the name.
    """
    if name in METHODS:
        raise CimsimError("a calibration method of this name is registered already", value=name)

    def add(step: Step) -> Step:
        _STEPS.register(name)(step)
        if number is not None:
            _NUMBERS[name] = number
        return step

    return add


def find_steps() -> Mapping[str, Step]:
    """Return every step by name: registered ones, then those of installed packages."""
    return _STEPS


def number_of(name: str) -> Number | None:
    """Return the free number of a step, if it has one."""
    return _NUMBERS.get(name)


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
    limits = _NUMBERS.get(base)
    if limits is None:
        raise CimsimError(
            "this step takes no number",
            key="calibration.method",
            value=name,
            allowed=", ".join(f"{known}@NUMBER" for known in _NUMBERS),
        )
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not limits.least <= value <= limits.most:
        raise CimsimError(
            f"{limits.meaning} is out of range",
            key="calibration.method",
            value=name,
            allowed=f"{base}@NUMBER with a number from {limits.least:g} to {limits.most:g}",
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
