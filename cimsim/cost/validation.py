"""Published figures against the model: every check, its error and whether it passes.

The checks are data (`data/validation.yaml`). Each names a chip of `arch_configs/published`,
the knobs that differ from it, a quantity, the published value with its source and the
tolerance, and its class: *structural* (a sum of published parts or a closed form), *fit*
(a constant was chosen by it) or *predicted*. An item states the constants that were
fitted, at most as many as it has fit checks. What cannot be modelled is listed with the
reason and never counted as passed.
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
from cimsim.cost.counts import Density
from cimsim.cost.peak import Peak, peak
from cimsim.cost.quantities import evaluate

__all__ = ["Check", "CheckResult", "Summary", "load_checks", "run_checks", "summarise"]

Class = Literal["structural", "fit", "predicted", "not_modelled"]
Status = Literal["passed", "failed", "not_modelled"]


@dataclass(frozen=True)
class Check:
    """One published figure.

    Attributes:
        item: group, one publication.
        name: of the figure.
        kind: structural, fit, predicted or not_modelled.
        published: the value; None where it is not modelled.
        unit: of the value.
        tolerance: relative.
        source: publication.
        confidence: how the value was read: A, B, C or D.
        preset: chip file under arch_configs/published.
        settings: knobs that differ from the file.
        unchecked: knobs set beyond what a chip file may say (one-bit operands).
        density: bit and level densities; None takes the documented default.
        quantity: what is compared.
        note: reason or remark.
        fitted: constants that the item fits, "name = value".
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
    density: Density | None
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
    """

    check: Check
    simulated: float | None
    error: float | None
    status: Status


@dataclass(frozen=True)
class Summary:
    """Counts and errors over all checks.

    Attributes:
        passed: checks within their tolerance.
        failed: checks outside.
        not_modelled: figures without a model.
        predicted_median: median absolute error over predicted checks.
        predicted_max: largest absolute error over predicted checks.
    """

    passed: int
    failed: int
    not_modelled: int
    predicted_median: float
    predicted_max: float


@cache
def load_checks() -> tuple[Check, ...]:
    """Return every check of the data file, in its order."""
    text = (files("cimsim.cost") / "data" / "validation.yaml").read_text(encoding="utf-8")
    tree: Any = parse_yaml(text, "validation.yaml").value
    return tuple(check for item in tree["items"] for check in _of_item(item))


def run_checks(checks: tuple[Check, ...] | None = None) -> tuple[CheckResult, ...]:
    """Evaluate checks; chips that several checks share are evaluated once."""
    chips: dict[object, Peak] = {}
    results = []
    for check in load_checks() if checks is None else checks:
        if check.published is None:
            results.append(CheckResult(check, None, None, "not_modelled"))
            continue
        key = (check.preset, check.settings, check.unchecked, check.density)
        if key not in chips:
            chips[key] = peak(_chip(check), check.density)
        value = evaluate(check.quantity, chips[key])
        error = value / check.published - 1
        # A tolerance of 0 means equal as printed, up to float rounding.
        passed = abs(error) <= check.tolerance + 1e-12
        results.append(CheckResult(check, value, error, "passed" if passed else "failed"))
    return tuple(results)


def summarise(results: tuple[CheckResult, ...]) -> Summary:
    """Count results and take the errors of predicted checks."""
    errors = [abs(r.error) for r in results if r.error is not None and r.check.kind == "predicted"]
    return Summary(
        passed=sum(r.status == "passed" for r in results),
        failed=sum(r.status == "failed" for r in results),
        not_modelled=sum(r.status == "not_modelled" for r in results),
        predicted_median=median(errors) if errors else 0.0,
        predicted_max=max(errors, default=0.0),
    )


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
        density = row.get("density", item.get("density"))
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
            density=None if density is None else Density(float(density[0]), float(density[1])),
            quantity=row.get("quantity", ""),
            note=row.get("note", ""),
            fitted=tuple(item.get("fitted", ())),
        )
