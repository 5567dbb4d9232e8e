"""Results of the published checks as plain data, as text and as points of a plot."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from typing import Any

from cimsim.cost.density import density_words
from cimsim.cost.peak_report import wrapped
from cimsim.cost.quantities import reads_energy
from cimsim.cost.validation import CLASSES, CheckResult, summarise

__all__ = ["as_dict", "as_lines", "parity_points"]

_KINDS = {
    "identity": "ident",
    "structural": "struct",
    "fitted": "fit",
    "predicted_family": "family",
    "predicted": "pred",
}


def as_dict(results: tuple[CheckResult, ...]) -> dict[str, Any]:
    """Return counts and errors of every class, and one row a check."""
    summary = summarise(results)
    return {
        "failed": summary.failed,
        "not_modelled": summary.not_modelled,
        "classes": {kind: asdict(found) for kind, found in summary.classes.items()},
        "rows": [_row(r) for r in results],
    }


def as_lines(results: tuple[CheckResult, ...]) -> list[str]:
    """Return the table of checks, fitted constants, densities and classes, 80 columns wide."""
    lines: list[str] = []
    for item, group in groupby(results, key=lambda r: r.check.item):
        rows = list(group)
        lines += wrapped(f"{item}: {rows[0].check.source}", "", "  ")
        head = "".join(h.rjust(w) for h, w in (("paper", 10), ("model", 10), ("error", 7)))
        lines.append(f"{'':<45}{head}{'tol':>5}")
        lines += [line for row in rows for line in _line(row)]
        lines += [*_fitted(rows), *_densities(rows)]
    return [*lines, "", *_classes(results)]


def _fitted(rows: list[CheckResult]) -> list[str]:
    """Name the constants that figures of an item set, with their values."""
    values = {name: value for r in rows for name, value in r.fitted.items()}
    if not values:
        return []
    text = ", ".join(f"{name} = {value:.5g}" for name, value in values.items())
    return wrapped(f"fitted: {text}")


def _densities(rows: list[CheckResult]) -> list[str]:
    """State the densities behind figures of energy and power, each with its figures."""
    figures: dict[str, list[str]] = {}
    for r in rows:
        if r.density is not None and reads_energy(r.check.quantity):
            figures.setdefault(density_words(r.density), []).append(r.check.name)
    return [
        line
        for density, names in figures.items()
        for line in wrapped(f"at {density}: {', '.join(names)}")
    ]


def _classes(results: tuple[CheckResult, ...]) -> list[str]:
    """Return a line a class: what it holds says how far its errors speak of the model."""
    summary = summarise(results)
    lines = [f"{'class':<45}{'checks':>7}{'passed':>8}{'median':>9}{'worst':>8}"]
    for kind, found in summary.classes.items():
        if not found.count:  # those from scratch stand apart, by factors (`cost.from_scratch`)
            continue
        errors = "".join(
            ("-" if e is None else f"{e:.1%}").rjust(w)
            for e, w in ((found.median_error, 9), (found.max_error, 8))
        )
        name = f"{_KINDS[kind]}: {CLASSES[kind]}"
        lines.append(f"{name:<45}{found.count:>7}{found.passed:>8}{errors}")
    return [*lines, f"{summary.failed} failed; {summary.not_modelled} figures are not modelled"]


def _line(result: CheckResult) -> list[str]:
    check = result.check
    unit = check.unit.replace("conversion", "conv.")
    if check.published is None or result.simulated is None or result.error is None:
        return wrapped(f"{check.name}: not modelled: {check.note}")
    status = {"passed": " ok", "failed": " NO"}[result.status]
    name, tolerance = f"  {check.name}, {unit}", f"{100 * check.tolerance:.3g}%"
    kind = _KINDS[check.kind]
    return [
        f"{name:<38}{kind:<7}{check.published:>10.4g}{result.simulated:>10.4g}"
        f"{result.error:>+7.1%}{tolerance:>5}{status}"
    ]


def parity_points(results: tuple[CheckResult, ...]) -> list[tuple[str, str, float, float]]:
    """Return (figure, class, published, simulated) of every modelled check."""
    return [
        (f"{r.check.item} {r.check.name}", r.check.kind, r.check.published, r.simulated)
        for r in results
        if r.simulated is not None and r.check.published is not None
    ]


def _row(result: CheckResult) -> dict[str, Any]:
    check, density = result.check, result.density
    return {
        "item": check.item,
        "figure": check.name,
        "class": check.kind,
        "published": check.published,
        "simulated": result.simulated,
        "unit": check.unit,
        "error": result.error,
        "tolerance": check.tolerance,
        "status": result.status,
        "preset": check.preset,
        "source": check.source,
        "confidence": check.confidence,
        "note": check.note,
        "fitted": dict(result.fitted),
        "input_bit_density": None if density is None else density.input_bit_density,
        "mean_level_fraction": None if density is None else density.mean_level_fraction,
    }
