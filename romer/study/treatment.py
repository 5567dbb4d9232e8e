"""Treatments of a study by name, beyond methods and steps.

| name | what |
|---|---|
| two_steps | the best reading of each of the paper's two steps, chosen on ACCEPT text |
| trim | columns trimmed as a bring-up does it, kept whatever it does to a text |
| trim+NAME | the same, then another treatment on top |
"""

from __future__ import annotations

from romer import Calibrated, Untreated, calibrate
from romer.choose import READINGS, choose

__all__ = ["TRIM", "TWO_STEPS", "methods_of", "treat"]

TRIM, TWO_STEPS = "trim", "two_steps"


def methods_of(name: str) -> tuple[str, ...]:
    """Return the methods and steps that a treatment is made of."""
    first, plus, rest = name.partition("+")
    if first == TRIM:
        return ("trim_columns", *(methods_of(rest) if plus else ()))
    return tuple(s for group in READINGS for s in group) if name == TWO_STEPS else (name,)


def treat(untreated: Untreated, name: str, *, guarded: bool = True) -> Calibrated:
    """Treat a chip.

    Args:
        untreated: the chip as it is.
        name: of the treatment, a method, or steps joined by +.
        guarded: keep what passes the guard alone; a trim is kept in any case.
    """
    first, plus, rest = name.partition("+")
    if first == TRIM:
        trimmed, start = untreated.after("trim_columns")
        if not plus:
            return trimmed
        found = treat(start, rest, guarded=guarded)
        return Calibrated(found.correction, (*trimmed.verdicts, *found.verdicts))
    if name == TWO_STEPS:
        return choose(untreated.task, READINGS, untreated=untreated)
    return calibrate(untreated.task, name, guarded=guarded, untreated=untreated)
