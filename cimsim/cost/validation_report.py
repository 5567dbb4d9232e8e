"""Results of the published checks as plain data, as text and as points of a plot."""

from __future__ import annotations

from typing import Any

from cimsim.cost.validation import CheckResult, summarise

__all__ = ["as_dict", "as_lines", "parity_points"]


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
    """Return the table of checks, the fitted constants and the summary as text."""
    lines = [
        f"{'item':<28}{'figure':<36}{'class':<13}{'published':>11}{'simulated':>11}"
        f"{'error':>8}{'tol':>7}  result"
    ]
    for row in (_row(r) for r in results):
        if row["status"] == "not_modelled":
            lines.append(f"{row['item']:<28}{row['figure']:<36}not modelled: {row['note']}")
            continue
        lines.append(
            f"{row['item']:<28}{row['figure']:<36}{row['class']:<13}{row['published']:>11.5g}"
            f"{row['simulated']:>11.5g}{row['error']:>+8.1%}{row['tolerance']:>7.1%}"
            f"  {row['status']} [{row['unit']}, {row['confidence']}]"
        )
    for item, names in as_dict(results)["fitted_constants"].items():
        lines.append(f"fitted in {item}: {', '.join(names)}")
    summary = summarise(results)
    lines.append(
        f"{summary.passed} passed, {summary.failed} failed, {summary.not_modelled} not modelled; "
        f"predicted checks: median error {summary.predicted_median:.1%}, "
        f"largest {summary.predicted_max:.1%}"
    )
    return lines


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
