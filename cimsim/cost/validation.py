"""Published figures against the model: every check, its error and whether it passes.

The checks are data (`data/validation.yaml`, which says what each class means). Each names a
chip of `arch_configs/published`, the knobs that differ from it, a quantity, the published value
with its source and the tolerance, and its class. Classes are counted apart, because a sum that
closes and a constant that was fitted say nothing of a prediction. A fitted figure names the
constants that were set from it. What cannot be modelled is listed with the reason and never
counted as passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import median
from typing import Any, Literal

from cimsim.config import ChipConfig
from cimsim.config.load import bundled_folder, load_chip
from cimsim.config.yaml_tree import parse_yaml
from cimsim.cost.catalogue import all_constants
from cimsim.cost.counts import Density
from cimsim.cost.peak import Peak, peak
from cimsim.cost.quantities import evaluate
from cimsim.errors import CimsimInternalError

__all__ = [
    "CLASSES",
    "FROM_SCRATCH",
    "FROM_SCRATCH_SECOND",
    "Check",
    "CheckResult",
    "ClassSummary",
    "ValidationSummary",
    "constant_value",
    "load_checks",
    "run_checks",
    "summarise",
]

Class = Literal["identity", "structural", "fitted", "predicted_family", "predicted", "not_modelled"]
Status = Literal["passed", "failed", "not_modelled"]

# Every class with a model, in words, from what says least of the model to what says most.
CLASSES: Mapping[Class, str] = {
    "identity": "identity (a sum or code check)",
    "structural": "structural (counts, sizes, clocks)",
    "fitted": "fitted (a constant was set from it)",
    "predicted_family": "predicted on the fitted family",
    "predicted": "predicted from scratch",
}


@dataclass(frozen=True)
class Check:
    """One published figure.

    Attributes:
        item: group, one publication.
        name: of the figure.
        kind: its class.
        published: the value; None where it is not modelled.
        unit: of the value.
        tolerance: relative.
        source: publication.
        confidence: how the value was read: A, B, C or D.
        preset: chip file under arch_configs/published.
        settings: knobs that differ from the file.
        unchecked: knobs set beyond what a chip file may say (one-bit operands).
        quantity: what is compared.
        note: reason or remark.
        fitted: constants that were set from this figure: knobs of the chip, or constants of a
            model.
    """

    item: str
    name: str
    kind: Class
    published: float | None
    unit: str
    tolerance: float
    source: str
    confidence: str
    preset: str
    settings: tuple[str, ...]
    unchecked: tuple[tuple[str, int], ...]
    quantity: str
    note: str
    fitted: tuple[str, ...]


@dataclass(frozen=True)
class CheckResult:
    """A check and what the model says.

    Attributes:
        check: the figure.
        simulated: the model's value; None where it is not modelled.
        error: relative, signed; None where it is not modelled.
        status: passed, failed or not_modelled.
        density: at which the chip's energy is charged; None where it does not depend on the data.
        fitted: constants that were set from this figure, with their values.
    """

    check: Check
    simulated: float | None
    error: float | None
    status: Status
    density: Density | None
    fitted: Mapping[str, float]


@dataclass(frozen=True)
class ClassSummary:
    """Counts and absolute errors of one class; the errors of no checks are None."""

    count: int
    passed: int
    median_error: float | None
    max_error: float | None


@dataclass(frozen=True)
class ValidationSummary:
    """Counts and errors by class, never mixed.

    Attributes:
        classes: one of each of `CLASSES`.
        failed: checks outside their tolerance.
        not_modelled: figures without a model.
    """

    classes: Mapping[Class, ClassSummary]
    failed: int
    not_modelled: int


FROM_SCRATCH = "from_scratch.yaml"
"""Checks of chips that were described before they were run."""
FROM_SCRATCH_SECOND = "from_scratch_second.yaml"
"""Checks of a second set of such chips."""


@cache
def load_checks(name: str = "validation.yaml") -> tuple[Check, ...]:
    """Return every check of a data file, in its order.

    Args:
        name: `validation.yaml`, or a set from scratch, whose figures no constant comes from.
    """
    text = (files("cimsim.cost") / "data" / name).read_text(encoding="utf-8")
    tree: Any = parse_yaml(text, name).value
    return tuple(check for item in tree["items"] for check in _of_item(item))


def run_checks(checks: tuple[Check, ...] | None = None) -> tuple[CheckResult, ...]:
    """Evaluate checks; chips that several checks share are evaluated once."""
    chips: dict[object, Peak] = {}
    results = []
    for check in load_checks() if checks is None else checks:
        if check.published is None:
            results.append(CheckResult(check, None, None, "not_modelled", None, {}))
            continue
        key = (check.preset, check.settings, check.unchecked)
        if key not in chips:
            chips[key] = peak(_chip(check))
        found = chips[key]
        value = evaluate(check.quantity, found)
        error = value / check.published - 1
        # A tolerance of 0 means equal as printed, up to float rounding.
        passed = abs(error) <= check.tolerance + 1e-12
        fitted = {name: constant_value(name, found.config) for name in check.fitted}
        status: Status = "passed" if passed else "failed"
        results.append(CheckResult(check, value, error, status, found.density, fitted))
    return tuple(results)


def summarise(results: tuple[CheckResult, ...]) -> ValidationSummary:
    """Count results and take the errors of every class."""
    return ValidationSummary(
        classes={kind: _of_class([r for r in results if r.check.kind == kind]) for kind in CLASSES},
        failed=sum(r.status == "failed" for r in results),
        not_modelled=sum(r.status == "not_modelled" for r in results),
    )


def _of_class(results: list[CheckResult]) -> ClassSummary:
    errors = [abs(r.error) for r in results if r.error is not None]
    return ClassSummary(
        count=len(results),
        passed=sum(r.status == "passed" for r in results),
        median_error=median(errors) if errors else None,
        max_error=max(errors, default=None),
    )


def constant_value(name: str, config: ChipConfig) -> float:
    """Return a constant of a model, or the value of a knob of a chip by its dotted path.

    Raises:
        CimsimInternalError: if neither has this name.
    """
    constant = next((c for c in all_constants() if c.key == name), None)
    if constant is not None:
        return constant.value
    section: Any = config
    for key in name.split("."):
        section = section.get(key) if isinstance(section, Mapping) else getattr(section, key, None)
    if not isinstance(section, int | float):
        message = f"no constant or knob of {config.name} is called {name}"
        raise CimsimInternalError(message)
    return float(section)


def _chip(check: Check) -> ChipConfig:
    path = bundled_folder() / "published" / f"{check.preset}.yaml"
    config = load_chip(path, check.settings)
    for dotted, value in check.unchecked:
        config = _with(config, dotted.split("."), value)
    return config


def _with(section: Any, keys: list[str], value: int) -> Any:
    """Return a section with one knob replaced, bounds unchecked."""
    inner = value if len(keys) == 1 else _with(getattr(section, keys[0]), keys[1:], value)
    return section.model_copy(update={keys[0]: inner})


def _of_item(item: Mapping[str, Any]) -> Iterator[Check]:
    for row in item["checks"]:
        published = row.get("value")
        yield Check(
            item=item["id"],
            name=row["name"],
            kind=row["class"],
            published=None if published is None else float(published),
            unit=row.get("unit", ""),
            tolerance=float(row.get("tol", 0.0)),
            source=item["source"],
            confidence=row.get("conf", item["conf"]),
            preset=row.get("preset", item.get("preset", "")),
            settings=tuple(row.get("set", ())),
            unchecked=tuple((k, int(v)) for k, v in row.get("unchecked", {}).items()),
            quantity=row.get("quantity", ""),
            note=row.get("note", ""),
            fitted=tuple(row.get("fitted", ())),
        )
