"""What ``cimsim serve`` prints and writes: rows as they come, then files."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from cimsim.results.csv_file import csv_of
from cimsim.stages.serving import ServedPoint
from cimsim.text_file import write_whole

HEADER = (
    f"{'arrivals':<8}{'req/s':>10}{'load':>6}{'done/s':>10}{'mean us':>10}{'p50 us':>10}"
    f"{'p99 us':>10}{'queue%':>7}{'in sys':>9}{'busy':>9}  busiest"
)


class Output:
    """Collects the points of a curve.

    Args:
        csv: file for the table, or None.
        plot: file for the figure, or None.
        as_json: only JSON on stdout.
    """

    def __init__(self, *, csv: Path | None, plot: Path | None, as_json: bool) -> None:
        self._csv, self._plot, self._json = csv, plot, as_json
        self._points: list[ServedPoint] = []

    def add(self, point: ServedPoint) -> None:
        """Take a point; print its row and warn of what a reader must know."""
        if not self._json:
            if not self._points:
                print(HEADER)
            print(_line(point), flush=True)
        self._points.append(point)
        for caution in point.cautions:
            print(f"warning: {caution}", file=sys.stderr)

    def finish(self, *, partial: str | None = None) -> None:
        """Write the files and the JSON.

        Args:
            partial: why later points are missing, or None if all are there.
        """
        rows = [_flat(p) for p in self._points]
        if self._json:
            print(json.dumps({"points": rows, "partial": partial}, indent=2))
        if self._csv is not None and rows:
            mark = f"# partial: {partial}\n" if partial else ""
            write_whole(self._csv, csv_of(list(rows[0]), rows) + mark.encode("utf-8"))
        if self._plot is not None and len(self._points) > 1:
            from cimsim.report.canvas import write_picture
            from cimsim.report.serving_figure import serving_figure

            figure = serving_figure([_flat(p) for p in self._points], partial=partial is not None)
            write_picture(figure, self._plot)


def _flat(point: ServedPoint) -> dict[str, object]:
    """Return a point as one row: a column a part of the latency, cautions joined."""
    row: dict[str, object] = asdict(point)
    parts = row.pop("parts_us")
    cautions = row.pop("cautions")
    assert isinstance(parts, dict)  # noqa: S101 - it is one
    row |= {f"{part}_us": value for part, value in parts.items()}
    return {**row, "cautions": "; ".join(cautions)}  # type: ignore[arg-type]


def _line(p: ServedPoint) -> str:
    def number(value: float | None, width: int) -> str:
        return " " + ("-" if value is None else f"{value:.4g}").rjust(width - 1)

    share = 100 * p.parts_us["queue"] / p.latency_mean_us
    return (
        f"{p.arrivals:<8}{number(p.rate_per_s, 10)}{number(p.load, 6)}"
        f"{number(p.completed_per_s, 10)}{number(p.latency_mean_us, 10)}"
        f"{number(p.latency_p50_us, 10)}{number(p.latency_p99_us, 10)}{number(share, 7)}"
        f"{number(p.in_system_mean, 9)}{number(p.utilisation, 9)}  {p.critical_resource}"
        + ("  SATURATED" if p.saturated else "")
    )
