"""Results of the published checks as plain data, as text and as points of a plot."""

from __future__ import annotations

from itertools import groupby
from textwrap import wrap
from typing import Any

from cimsim.cost.validation import CheckResult, summarise

__all__ = ["as_dict", "as_lines", "parity_points"]

WIDTH = 80
_KINDS = {"structural": "struct", "fit": "fit", "predicted": "pred"}


def as_dict(results: tuple[CheckResult, ...]) -> dict[str, Any]:
    """Return counts, errors and one row a check."""
    summary = summarise(results)
    fitted = {r.check.item: list(r.check.fitted) for r in results if r.check.fitted}
    return {
        "passed": summary.passed,
        "failed": summary.failed,
        "not_modelled": summary.not_modelled,
        "predicted_median_error": summary.predicted_median,
        "predicted_max_error": summary.predicted_max,
        "fitted_constants": fitted,
        "rows": [_row(r) for r in results],
    }


def as_lines(results: tuple[CheckResult, ...]) -> list[str]:
    """Return the table of checks, the fitted constants and the summary, 80 columns wide."""
    lines: list[str] = []
    fitted = as_dict(results)["fitted_constants"]
    for item, group in groupby(results, key=lambda r: r.check.item):
        rows = list(group)
        lines += wrap(f"{item}: {rows[0].check.source}", WIDTH, subsequent_indent="  ")
        head = "".join(h.rjust(w) for h, w in (("paper", 10), ("model", 10), ("error", 7)))
        lines.append(f"{'':<45}{head}{'tol':>5}")
        lines += [line for row in rows for line in _line(row)]
        if item in fitted:
            names = f"fitted: {', '.join(fitted[item])}"
            lines += wrap(names, WIDTH, initial_indent="  ", subsequent_indent="    ")
    summary = summarise(results)
    end = (
        f"{summary.passed} passed, {summary.failed} failed, {summary.not_modelled} not modelled; "
        f"predicted checks: median error {summary.predicted_median:.1%}, "
        f"largest {summary.predicted_max:.1%}"
    )
    return [*lines, "struct: sum of published parts or closed form; pred: predicted", *wrap(end)]


def _line(result: CheckResult) -> list[str]:
    check = result.check
    unit = check.unit.replace("conversion", "conv.")
    if check.published is None or result.simulated is None or result.error is None:
        text = f"{check.name}: not modelled: {check.note}"
        return wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
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
    check = result.check
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
    }
