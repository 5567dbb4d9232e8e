"""Whether the plan's hypotheses held, cell by cell where they did not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from romer.study.cells import BASELINES
from romer.study.measured import CellMeasurement
from romer.study.summary import StudySummary, holm, one_sided_p

__all__ = ["ALPHA", "HARM_NATS", "MODE_NATS", "harmful", "mode_differences", "verdicts"]

Row = dict[str, Any]

ALPHA = 0.05
HARM_NATS = 0.005
MODE_NATS = 0.01
MAIN = "romer_plus"


def verdicts(summary: StudySummary) -> list[str]:
    """Return one sentence a hypothesis."""
    joined = [{**d, **r} for d, r in zip(summary.details, summary.rows, strict=True)]
    plus = _judged(summary, joined)
    whole, part = _split(plus)
    on_top = [
        r
        for r in joined
        if r["role"] == "ablation" and r["calibrator"] == MAIN and r["scale"] != "per_matrix"
    ]
    top_whole, top_part = _split(on_top)
    tests: list[tuple[str, list[Row], Callable[[Row], bool]]] = [
        ("H1, lower loss", plus, lambda r: r["p_value"] < ALPHA),
        ("H2, cut of 65 % at L, all analog", _at_l(whole), lambda r: r["reduction"] >= 0.65),
        ("H3, 55 % closed, all analog", _below(whole), lambda r: r["gap_closure_ppl"] >= 0.55),
        (
            "H3, 75 % of the all-analog gap closed with digital attention",
            _below(part),
            lambda r: r["gap_closure_ppl_of_all_analog"] >= 0.75,
        ),
        (
            "beside H3, 75 % of its own gap closed with digital attention",
            _below(part),
            lambda r: r["gap_closure_ppl"] >= 0.75,
        ),
        (
            "H3 on top of the best quantiser, 55 % closed, all analog",
            _below(top_whole),
            lambda r: r["gap_closure_ppl"] >= 0.55,
        ),
        (
            "H3 on top of the best quantiser, 75 % closed, digital attention (its own gap)",
            _below(top_part),
            lambda r: r["gap_closure_ppl"] >= 0.75,
        ),
        (
            "H5, total variation of load halved at L, all analog",
            _at_l(whole),
            lambda r: r["load_tv_calibrated"] <= 0.5 * r["load_tv_noisy"],
        ),
    ]
    lines = [_sentence(name, group, [holds(r) for r in group]) for name, group, holds in tests]
    harm = harmful(summary.measured)
    lines.append(f"H4, never harmful: {'missed: ' + '; '.join(harm) if harm else 'held'}.")
    return lines


def _judged(summary: StudySummary, joined: Sequence[Row]) -> list[Row]:
    """Return the rows on which the main calibrator is judged, one a primary cell.

    The folded row, unless its detailed twin differs by more than `MODE_NATS`.
    """
    rows = {id(m): r for m, r in zip(summary.measured, joined, strict=True)}
    apart = {
        _folded_key(m): rows[id(m)]
        for m, noisy, after in mode_differences(summary.measured)
        if max(abs(noisy), abs(after)) > MODE_NATS
    }
    primary = [m for m in summary.measured if m.cell.role == "primary"]
    primary = [m for m in primary if m.cell.calibrator == MAIN]
    found = []
    for m in primary:
        twin = apart.get(_folded_key(m))
        if twin is None:
            found.append(rows[id(m)])
        else:
            p_value = min(1.0, twin["p_value"] * len(primary))
            found.append({**twin, "level_l": m.cell.level_l, "p_value": p_value})
    return found


def _sentence(name: str, group: Sequence[Row], held: Sequence[bool]) -> str:
    if not group:
        return f"{name}: not tested."
    missed = [r for r, holds in zip(group, held, strict=True) if not holds]
    if not missed:
        return f"{name}: held in {len(group)} of {len(group)} cells."
    where = "; ".join(
        f"{r['model']} {r['scope']} sigma {r['sigma_lsb']:g}"
        f"{' (detailed)' if r['tile_mode'] == 'detailed' else ''}: "
        f"cut {r['reduction']:.1%}, closed "
        f"{r['gap_closure_ppl']:.0%}, of the all-analog gap "
        f"{_percent(r['gap_closure_ppl_of_all_analog'])}, load TV {r['load_tv_noisy']:.3f} -> "
        f"{r['load_tv_calibrated']:.3f}, p {r['p_value']:.2g}"
        for r in missed
    )
    return f"{name}: missed in {len(missed)} of {len(group)} cells ({where})."


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.0%}"


def harmful(measured: Sequence[CellMeasurement]) -> list[str]:
    """Name the guarded cells whose loss rises: significantly (Holm), or by over 0.005 nats."""
    cells = [m for m in measured if m.cell.guarded and m.cell.role != "transfer"]
    cells = [m for m in cells if m.cell.calibrator not in BASELINES]
    rises = [m.nll(treated=True) - m.nll(treated=False) for m in cells]
    p_values = holm([one_sided_p([float(v) for v in rise]) for rise in rises])
    return [
        f"{m.cell.calibrator} on {m.cell.model}, {m.cell.scope}, sigma {m.cell.sigma}: "
        f"{rise.mean():+.4f} nats, p {p:.2g}"
        for m, rise, p in zip(cells, rises, p_values, strict=True)
        if p < ALPHA or rise.mean() > HARM_NATS
    ]


def mode_differences(
    measured: Sequence[CellMeasurement],
) -> list[tuple[CellMeasurement, float, float]]:
    """Return, for every cell in detailed mode, its mean difference from the same chips folded.

    Noisy and calibrated loss, detailed minus folded, nats per token.
    """
    folded = {_folded_key(m): m for m in measured if m.cell.tile_mode == "folded"}
    found = []
    for m in measured:
        twin = folded.get(_folded_key(m)) if m.cell.tile_mode == "detailed" else None
        if twin is not None:
            count = len(m.cell.chips)
            differences = [
                float((m.nll(treated=t) - twin.nll(treated=t)[:count]).mean())
                for t in (False, True)
            ]
            found.append((m, differences[0], differences[1]))
    return found


def _folded_key(m: CellMeasurement) -> tuple[Any, ...]:
    cell = m.cell
    return (
        cell.kind,
        cell.calibrator,
        cell.guarded,
        cell.tokens,
        cell.mismatch,
        cell.fitted_on,
        cell.words,
        cell.chips[0],
    )


def _split(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    whole = [r for r in rows if "attention" in r["analog_parts"]]
    return whole, [r for r in rows if "attention" not in r["analog_parts"]]


def _at_l(rows: Sequence[Row]) -> list[Row]:
    return [r for r in rows if r["level_l"]]


def _below(rows: Sequence[Row]) -> list[Row]:
    return [r for r in rows if not r["level_l"]]
