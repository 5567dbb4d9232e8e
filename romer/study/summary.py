"""From measurements to tables: means over chips, intervals, tests, closures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtr

from cimsim.results.csv_file import csv_of
from cimsim.results.statistics import mean_interval
from cimsim.text_file import write_whole
from romer.study.cells import Cell
from romer.study.details import detail_row, mean_of
from romer.study.measured import CellMeasurement

__all__ = ["StudySummary", "holm", "one_sided_p", "summarise", "write_table"]

Row = dict[str, Any]


@dataclass(frozen=True)
class StudySummary:
    """The tables of a study.

    Attributes:
        rows: of summary.csv, one per cell.
        details: of details.csv, in the same order.
        chips: of chips.csv, one per chip of a cell.
        measured: what they are made of, in the order of rows.
    """

    rows: list[Row]
    details: list[Row]
    chips: list[Row]
    measured: tuple[CellMeasurement, ...]


def one_sided_p(gains: Sequence[float]) -> float:
    """Return the p value of "the mean gain is not above zero", paired t over chips."""
    values = np.asarray(gains, dtype=np.float64)
    n = len(values)
    if n < 2:
        return math.nan
    spread = float(values.std(ddof=1))
    mean = float(values.mean())
    if spread == 0.0:
        return 0.0 if mean > 0 else 1.0
    return float(stdtr(n - 1, -mean / (spread / math.sqrt(n))))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected after Holm: sorted p times the tests that are left.

    Values that are not a number stay so and count as no test.
    """
    out = [math.nan] * len(p_values)
    tested = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    worst = 0.0
    for rank, (p, i) in enumerate(tested):
        worst = max(worst, min(1.0, p * (len(tested) - rank)))
        out[i] = worst
    return out


def summarise(measured: Sequence[CellMeasurement]) -> StudySummary:
    """Return the tables in the order of the plan.

    ci_low and ci_high bound the mean calibrated perplexity: exp of the t interval of the
    loss over chips. p_value tests a gain over the noisy chip, one-sided and paired, Holm
    corrected over the primary cells of one calibrator; elsewhere it is not corrected.
    """
    rows = [_row(m) for m in measured]
    families: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if row["role"] == "primary":
            families.setdefault(row["calibrator"], []).append(i)
    for members in families.values():
        corrected = holm([rows[i]["p_value"] for i in members])
        for i, p in zip(members, corrected, strict=True):
            rows[i]["p_value"] = p
    # Digital attention is also held against the gap of the same chips all analog.
    whole = {_place(m): m for m in measured if _all_analog(m)}
    details = [detail_row(m, whole.get(_place(m))) for m in measured]
    return StudySummary(
        rows, details, [r for m in measured for r in _chip_rows(m)], tuple(measured)
    )


def _place(m: CellMeasurement) -> Cell:
    return replace(m.cell, analog=(), scope="", level_l=False)


def _all_analog(m: CellMeasurement) -> bool:
    return "attention" in m.cell.analog


def _row(m: CellMeasurement) -> Row:
    cell, noisy, treated = m.cell, m.nll(treated=False), m.nll(treated=True)
    clean = m.nll_clean
    nll_noisy, nll_after = float(noisy.mean()), float(treated.mean())
    interval = mean_interval(treated)
    ppl_clean, ppl_noisy, ppl_after = math.exp(clean), math.exp(nll_noisy), math.exp(nll_after)
    return {
        "role": cell.role,
        "model": cell.model,
        "analog_parts": "+".join(cell.analog),
        "device_profile": m.shared["device_profile"],
        "temperature_c": m.shared["temperature_c"],
        "scale": cell.quantiser,
        "sigma_lsb": math.nan if cell.sigma is None else cell.sigma,
        "level_l": cell.level_l,
        "rel_weight_error": m.shared["rel_weight_error"],
        "tile_mode": cell.tile_mode,
        "calibrator": cell.calibrator,
        "guarded": cell.guarded,
        "calibration_tokens": cell.tokens,
        "noise_mismatch": cell.mismatch,
        "chips": len(cell.chips),
        "nll_clean": clean,
        "nll_noisy": nll_noisy,
        "nll_calibrated": nll_after,
        "ppl_clean": ppl_clean,
        "ppl_ideal_int": m.shared["ppl_ideal_int"] if m.windows is None else math.nan,
        "ppl_noisy": ppl_noisy,
        "ppl_calibrated": ppl_after,
        "ci_low": math.exp(interval.low),
        "ci_high": math.exp(interval.high),
        "p_value": one_sided_p(list(noisy - treated)),
        "reduction": 1.0 - ppl_after / ppl_noisy,
        "gap_closure_ppl": _share(ppl_noisy - ppl_after, ppl_noisy - ppl_clean),
        "gap_closure_nll": _share(nll_noisy - nll_after, nll_noisy - clean),
        "load_cv_clean": m.shared["load_cv_clean"],
        "load_cv_noisy": mean_of(m.noisy, "load_cv"),
        "load_cv_calibrated": mean_of(m.treated, "load_cv"),
        "load_tv_noisy": mean_of(m.noisy, "load_tv"),
        "load_tv_calibrated": mean_of(m.treated, "load_tv"),
        "digital_ops_per_token": mean_of(m.treated, "digital_ops_per_token"),
        "cells_rewritten": mean_of(m.treated, "cells_rewritten"),
    }


def _chip_rows(m: CellMeasurement) -> list[Row]:
    """Return what each chip gave: what the means and intervals are made of."""
    noisy, treated = m.nll(treated=False), m.nll(treated=True)
    return [
        {
            **m.names(),
            "chip": chip,
            "nll_noisy": float(noisy[i]),
            "nll_calibrated": float(treated[i]),
            "steps_kept": "+".join(m.treated[i].get("kept", ())),
            "correction": str(m.treated[i].get("digest", ""))[:12],
        }
        for i, chip in enumerate(m.cell.chips)
    ]


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


def write_table(rows: Sequence[Row], path: Path) -> None:
    """Write a table of rows with the same columns, whole or not at all."""
    write_whole(path, csv_of(list(rows[0]), rows, digits=6))
