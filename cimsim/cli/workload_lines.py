"""Workloads beside peaks, and sweeps of peaks, as lines of at most 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cimsim.cli.compare_table import fit_number
from cimsim.cost.peak_report import wrapped

__all__ = ["sweep_lines", "workload_lines"]

VALUE = 8
PEAK = (
    ("TOPS", "tops"), ("TOPS/W", "tops_per_w"), ("TOPS/mm2", "tops_per_mm2"), ("W", "power_w"),
    ("ns", "interval_ns"),
)  # fmt: skip
WORKLOAD = (("us", "latency_us"), ("uJ", "energy_uj"), ("uJ us", "edp_uj_us"))
WIDTH = 9


def workload_lines(report: dict[str, Any]) -> list[str]:
    """Return what a workload takes beside the peak; nothing where none was asked for."""
    if "workload" not in report:
        return []
    w = report["workload"]
    ratio = w["crossbar_to_digital_ops"]
    digital = "none digital" if ratio is None else f"{ratio:.4g} on crossbars for one digital"
    return wrapped(
        f"{w['shape']}, batch {w['batch']}, on {w['tiles']} tiles: {w['latency_us']:.4g} us and "
        f"{w['energy_uj']:.4g} uJ a token, {w['edp_uj_us']:.4g} uJ us, {w['tokens_per_s']:.4g} "
        f"tokens/s; system {w['tops_per_w']:.4g} TOPS/W, {w['share_of_peak_tops_per_w']:.2%} of "
        f"the peak of these tiles, and {w['tops']:.4g} TOPS, {w['share_of_peak_tops']:.2%}; "
        f"operations: {digital}; limited by {w['critical_resource']}"
    )


def sweep_lines(reports: Sequence[dict[str, Any]]) -> list[str]:
    """Return a table of every chip: a line for every value of the knob."""
    lines: list[str] = []
    for name in dict.fromkeys(r["config"] for r in reports):
        mine = [r for r in reports if r["config"] == name]
        columns = [*PEAK, *(WORKLOAD if "workload" in mine[0] else ())]
        of = f", {mine[0]['workload']['shape']} a token" if "workload" in mine[0] else ""
        lines += wrapped(f"{name}: {mine[0]['knob']}{of}", "")
        lines.append(" " * VALUE + "".join(title.rjust(WIDTH) for title, _ in columns))
        for report in mine:
            every = {**report, **{k: report["workload"][k] for _, k in WORKLOAD if of}}
            cells = "".join(fit_number(every[key], WIDTH) for _, key in columns)
            lines.append(f"{report['value']:<{VALUE}}{cells}")
    return lines
